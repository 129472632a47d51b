// Rotates the pairs of q in place and those of fresh keys on their way into the cache; values go along. One invocation per
// pair, (a, b) -> (a cos - b sin, b cos + a sin). First the pairs of q, then keys, then values.

override THREADS: u32 = 64;

struct Params {
  q_pairs: u32, // query rows * heads * half_dim
  kv_pairs: u32, // rows * kv_heads * half_dim
  heads: u32,
  kv_heads: u32,
  half_dim: u32,
  step: u32, // from one pair's first element to the next pair's
  partner: u32, // from a pair's first element to its second
  at: u32, // cache row of the first new row
  has_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>; // [query rows, heads, 2 * half_dim]
@group(0) @binding(2) var<storage, read> kv: array<f32>; // [rows, 2 * kv_heads, 2 * half_dim], keys before values
@group(0) @binding(3) var<storage, read> cosines: array<f32>; // [rows, half_dim]
@group(0) @binding(4) var<storage, read> sines: array<f32>; // [rows, half_dim]
@group(0) @binding(5) var<storage, read> rows: array<u32>; // [query rows], if has_rows: their rows in the tables
@group(0) @binding(6) var<storage, read_write> k: array<f32>; // [C, kv_heads, 2 * half_dim]
@group(0) @binding(7) var<storage, read_write> v: array<f32>; // [C, kv_heads, 2 * half_dim]

fn rotated(a: f32, b: f32, angle: u32) -> vec2<f32> {
  return vec2(a * cosines[angle] - b * sines[angle], b * cosines[angle] + a * sines[angle]);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let half_dim = params.half_dim;
  var pair = (group.x + group.y * groups.x) * THREADS + thread;
  let head_dim = 2u * half_dim;
  let first = pair % half_dim * params.step; // in its head, also below: the counts before a pair are multiples of half_dim
  let second = first + params.partner;
  if (pair < params.q_pairs) {
    let head = pair / half_dim; // query row * heads + head
    var row = head / params.heads;
    if (params.has_rows != 0u) {
      row = rows[row];
    }
    let start = head * head_dim;
    let turned = rotated(q[start + first], q[start + second], row * half_dim + pair % half_dim);
    q[start + first] = turned.x;
    q[start + second] = turned.y;
    return;
  }
  pair -= params.q_pairs;
  let is_key = pair < params.kv_pairs;
  pair -= select(params.kv_pairs, 0u, is_key);
  if (pair >= params.kv_pairs) {
    return;
  }
  let head = pair / half_dim; // row * kv_heads + head
  let row = head / params.kv_heads;
  let to = (params.at * params.kv_heads + head) * head_dim;
  let source = (head + (row + select(1u, 0u, is_key)) * params.kv_heads) * head_dim;
  if (is_key) {
    let turned = rotated(kv[source + first], kv[source + second], row * half_dim + pair % half_dim);
    k[to + first] = turned.x;
    k[to + second] = turned.y;
  } else {
    v[to + first] = kv[source + first];
    v[to + second] = kv[source + second];
  }
}
