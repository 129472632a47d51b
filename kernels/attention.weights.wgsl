// Weights of softmax attention for software adapters, to which barriers and workgroup memory are dear: they are a dispatch of their own,
// followed by attention.values.wgsl. An invocation owns four pairs of a query row and a head; all of them walk over the same keys, so
// every load of k is the same for all. Needs attention.keys.wgsl in front.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [C, kv_heads, head_dim], C >= keys; f32 or f16
@group(0) @binding(3) var<storage, read> q_positions: array<u32>; // [rows] ascending
@group(0) @binding(4) var<storage, read> k_positions: array<u32>; // [keys] ascending
@group(0) @binding(5) var<storage, read> key_bias: array<f32>; // [keys] if has_bias
@group(0) @binding(6) var<storage, read> hidden: array<u32>; // [hidden_count, 3]: start, end, from
@group(0) @binding(7) var<storage, read_write> weights: array<vec4<f32>>; // [kv_heads, pairs, pitch]; the last of a row: 1 / sum

const THREADS = 8u;
const PAIRS = 4u * THREADS;
const KEYS = 8u; // of a step

fn key_at(at: u32) -> vec4<f32> {
  return numbers(k[at / PER_WORD], at);
}

fn products(queries: mat4x4<f32>, keys: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4(queries[0] * keys, queries[1] * keys, queries[2] * keys, queries[3] * keys);
}

fn masked(logits: vec4<f32>, bias: vec4<f32>, bits: u32) -> vec4<f32> {
  return select(vec4(MASKED), params.scale * logits + bias, (vec4(bits) & vec4(1u, 2u, 4u, 8u)) != vec4<u32>());
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
  if (flat >= tiles * params.kv_heads) {
    return;
  }
  let first = flat % tiles * PAIRS;
  let kv_head = flat / tiles;
  let limit = visible_prefix(q_positions[params.start + (min(first + PAIRS, pairs) - 1u) / group]);

  // Pairs past the last one repeat it and are not stored.
  let pair = min(first + 4u * thread + vec4(0u, 1u, 2u, 3u), vec4(pairs - 1u));
  let own = min(4u, pairs - min(pairs, first + 4u * thread));
  let rows = params.start + pair / group;
  let positions = vec4(q_positions[rows.x], q_positions[rows.y], q_positions[rows.z], q_positions[rows.w]);
  let query = (rows * params.heads + kv_head * group + pair % group) * head_quads;
  let pitch = (params.keys + KEYS - 1u) / KEYS * 2u + 1u;
  let to = (kv_head * pairs + pair) * pitch;

  var peak = vec4(LOW);
  var seen = vec4<u32>();
  for (var base = 0u; base < limit; base += KEYS) {
    // Keys past the limit repeat the last one and are invisible.
    let low = (min(base + vec4(0u, 1u, 2u, 3u), vec4(limit - 1u)) * params.kv_heads + kv_head) * head_quads;
    let high = (min(base + vec4(4u, 5u, 6u, 7u), vec4(limit - 1u)) * params.kv_heads + kv_head) * head_quads;
    var s = mat4x4<f32>(); // a column for each pair: keys 0 to 3
    var t = mat4x4<f32>(); // keys 4 to 7
    for (var c = 0u; c < head_quads; c++) {
      let queries = mat4x4(q[query.x + c], q[query.y + c], q[query.z + c], q[query.w + c]);
      s += products(queries, mat4x4(key_at(low.x + c), key_at(low.y + c), key_at(low.z + c), key_at(low.w + c)));
      t += products(queries, mat4x4(key_at(high.x + c), key_at(high.y + c), key_at(high.z + c), key_at(high.w + c)));
    }
    var visible = vec4<u32>(); // a bit for each key
    var bias = array<vec4<f32>, 2>();
    for (var j = 0u; j < min(KEYS, limit - base); j++) {
      visible |= select(vec4<u32>(), vec4(1u << j), are_visible(positions, base + j));
      if (params.has_bias != 0u) {
        bias[0] = select(bias[0], vec4(key_bias[base + j]), vec4(j) == vec4(0u, 1u, 2u, 3u));
        bias[1] = select(bias[1], vec4(key_bias[base + j]), vec4(j) == vec4(4u, 5u, 6u, 7u));
      }
    }
    seen |= visible;
    s = mat4x4(masked(s[0], bias[0], visible.x), masked(s[1], bias[0], visible.y), masked(s[2], bias[0], visible.z), masked(s[3], bias[0], visible.w));
    t = mat4x4(masked(t[0], bias[1], visible.x >> 4u), masked(t[1], bias[1], visible.y >> 4u), masked(t[2], bias[1], visible.z >> 4u), masked(t[3], bias[1], visible.w >> 4u));
    peak = max(peak, max(vec4(max4(s[0]), max4(s[1]), max4(s[2]), max4(s[3])), vec4(max4(t[0]), max4(t[1]), max4(t[2]), max4(t[3]))));
    let at = to + base / 4u;
    if (own > 0u) {
      weights[at.x] = s[0];
      weights[at.x + 1u] = t[0];
    }
    if (own > 1u) {
      weights[at.y] = s[1];
      weights[at.y + 1u] = t[1];
    }
    if (own > 2u) {
      weights[at.z] = s[2];
      weights[at.z + 1u] = t[2];
    }
    if (own > 3u) {
      weights[at.w] = s[3];
      weights[at.w + 1u] = t[3];
    }
  }

  let quads = (limit + KEYS - 1u) / KEYS * 2u;
  for (var r = 0u; r < own; r++) {
    var total = 0.0;
    for (var at = to[r]; at < to[r] + quads; at++) {
      let logits = weights[at];
      let some = select(exp(logits - peak[r]), vec4<f32>(), logits == vec4(MASKED));
      total += dot(some, vec4(1.0));
      weights[at] = some;
    }
    // A query that sees no key gives zeros.
    weights[to[r] + pitch - 1u] = vec4(1.0 / select(1.0, total, seen[r] != 0u));
  }
}
