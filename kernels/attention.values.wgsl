// Value side of softmax attention for software adapters, after attention.weights.wgsl: an invocation owns eight pairs of a query row and a
// head, and two vec4 of columns. Its workgroup reads the same weights, which such an adapter then loads once.
// Needs attention.keys.wgsl in front.
//
// An invisible key weighs 0 and its value row is replaced, not multiplied, so that infinity in it stays out.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // [kv_heads, pairs, pitch]; the last of a row: 1 / sum
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>; // [C, kv_heads, head_dim], C >= keys; f32 or f16
@group(0) @binding(3) var<storage, read> q_positions: array<u32>; // [rows] ascending
@group(0) @binding(4) var<storage, read> k_positions: array<u32>; // [keys] ascending
@group(0) @binding(5) var<storage, read> hidden: array<u32>; // [hidden_count, 3]: start, end, from
@group(0) @binding(6) var<storage, read_write> o: array<vec4<f32>>; // [rows, heads, head_dim]

const THREADS = 8u;
const PAIRS = 8u; // as many as there are accumulators below

// How many of the first keys all queries from `position` on are sure to see.
fn surely_visible(position: u32) -> u32 {
  var sure = visible_prefix(position);
  for (var i = 0u; i < params.hidden_count; i++) {
    let start = hidden[3u * i];
    if (start == 0u) {
      return 0u;
    }
    sure = min(sure, keys_up_to(start - 1u));
  }
  return sure;
}

fn value_at(at: u32) -> vec4<f32> {
  return numbers(v[at / PER_WORD], at);
}

fn values_at(rows: vec4<u32>, column: u32) -> mat4x4<f32> {
  return mat4x4(value_at(rows.x + column), value_at(rows.y + column), value_at(rows.z + column), value_at(rows.w + column));
}

fn weighed(values: mat4x4<f32>, w: vec4<f32>) -> vec4<f32> {
  let counts = w != vec4<f32>();
  return w.x * select(vec4<f32>(), values[0], counts.x) + w.y * select(vec4<f32>(), values[1], counts.y)
    + w.z * select(vec4<f32>(), values[2], counts.z) + w.w * select(vec4<f32>(), values[3], counts.w);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let head_quads = params.head_dim / 4u;
  let group = params.heads / params.kv_heads;
  let pairs = params.count * group;
  let tiles = (pairs + PAIRS - 1u) / PAIRS;
  let flat = workgroup.x + workgroup.y * workgroups.x;
  if (flat >= tiles * params.kv_heads * ((head_quads + 2u * THREADS - 1u) / (2u * THREADS))) {
    return;
  }
  let first = flat % tiles * PAIRS;
  let last = min(first + PAIRS, pairs) - 1u;
  let kv_head = flat / tiles % params.kv_heads;
  let quad = flat / tiles / params.kv_heads * 2u * THREADS + thread;
  let left = min(quad, head_quads - 1u);
  let right = min(quad + THREADS, head_quads - 1u);
  let limit = visible_prefix(q_positions[params.start + last / group]);
  let sure = surely_visible(q_positions[params.start + first / group]) / 4u * 4u;
  let pitch = (params.keys + 7u) / 8u * 2u + 1u;
  let start = kv_head * pairs * pitch;

  let r0 = start + min(first + 0u, last) * pitch;
  let r1 = start + min(first + 1u, last) * pitch;
  let r2 = start + min(first + 2u, last) * pitch;
  let r3 = start + min(first + 3u, last) * pitch;
  let r4 = start + min(first + 4u, last) * pitch;
  let r5 = start + min(first + 5u, last) * pitch;
  let r6 = start + min(first + 6u, last) * pitch;
  let r7 = start + min(first + 7u, last) * pitch;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  var d0 = vec4<f32>();
  var d1 = vec4<f32>();
  var d2 = vec4<f32>();
  var d3 = vec4<f32>();
  var d4 = vec4<f32>();
  var d5 = vec4<f32>();
  var d6 = vec4<f32>();
  var d7 = vec4<f32>();
  var key = 0u;
  for (; key < sure; key += 4u) {
    let rows = (min(key + vec4(0u, 1u, 2u, 3u), vec4(limit - 1u)) * params.kv_heads + kv_head) * head_quads;
    let w0 = weights[r0 + key / 4u];
    let w1 = weights[r1 + key / 4u];
    let w2 = weights[r2 + key / 4u];
    let w3 = weights[r3 + key / 4u];
    let w4 = weights[r4 + key / 4u];
    let w5 = weights[r5 + key / 4u];
    let w6 = weights[r6 + key / 4u];
    let w7 = weights[r7 + key / 4u];
    var values = values_at(rows, left);
    c0 += values * w0;
    c1 += values * w1;
    c2 += values * w2;
    c3 += values * w3;
    c4 += values * w4;
    c5 += values * w5;
    c6 += values * w6;
    c7 += values * w7;
    values = values_at(rows, right);
    d0 += values * w0;
    d1 += values * w1;
    d2 += values * w2;
    d3 += values * w3;
    d4 += values * w4;
    d5 += values * w5;
    d6 += values * w6;
    d7 += values * w7;
  }
  for (; key < limit; key += 4u) {
    let rows = (min(key + vec4(0u, 1u, 2u, 3u), vec4(limit - 1u)) * params.kv_heads + kv_head) * head_quads;
    let w0 = weights[r0 + key / 4u];
    let w1 = weights[r1 + key / 4u];
    let w2 = weights[r2 + key / 4u];
    let w3 = weights[r3 + key / 4u];
    let w4 = weights[r4 + key / 4u];
    let w5 = weights[r5 + key / 4u];
    let w6 = weights[r6 + key / 4u];
    let w7 = weights[r7 + key / 4u];
    var values = values_at(rows, left);
    c0 += weighed(values, w0);
    c1 += weighed(values, w1);
    c2 += weighed(values, w2);
    c3 += weighed(values, w3);
    c4 += weighed(values, w4);
    c5 += weighed(values, w5);
    c6 += weighed(values, w6);
    c7 += weighed(values, w7);
    values = values_at(rows, right);
    d0 += weighed(values, w0);
    d1 += weighed(values, w1);
    d2 += weighed(values, w2);
    d3 += weighed(values, w3);
    d4 += weighed(values, w4);
    d5 += weighed(values, w5);
    d6 += weighed(values, w6);
    d7 += weighed(values, w7);
  }

  for (var m = 0u; first + m <= last; m++) {
    var x = c0;
    var y = d0;
    switch m {
      case 1u: { x = c1; y = d1; }
      case 2u: { x = c2; y = d2; }
      case 3u: { x = c3; y = d3; }
      case 4u: { x = c4; y = d4; }
      case 5u: { x = c5; y = d5; }
      case 6u: { x = c6; y = d6; }
      case 7u: { x = c7; y = d7; }
      default: {}
    }
    let pair = first + m;
    let scale = weights[start + (pair + 1u) * pitch - 1u].x;
    let to = ((params.start + pair / group) * params.heads + kv_head * group + pair % group) * head_quads;
    if (quad < head_quads) { o[to + quad] = x * scale; }
    if (quad + THREADS < head_quads) { o[to + quad + THREADS] = y * scale; }
  }
}
