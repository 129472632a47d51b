// Softmax attention, one invocation per query row and head: the rows of a workgroup walk over the same keys, so every load of
// k and v is the same for all of them, and there is no barrier. The softmax is online: no row of logits is ever stored.
// Head widths are multiples of 4, so that rows are read as vectors; attention.row.wgsl takes the others.
//
// An invisible key weighs 0 and its value row is replaced, not multiplied, so that infinity in it stays out.

override THREADS: u32 = 32; // query rows of a workgroup
override PER_WORD: u32 = 1u; // numbers in 32 bits of k and v: f32, or 2 of f16 and head_dim is a multiple of 8
override QUADS: u32 = 16; // vectors of o per invocation: 4, 8, 12 or 16, at least head_dim / 4 if that is at most 16
const MASKED = -1e30; // no infinity in WGSL

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  head_dim: u32, // a multiple of 4
  keys: u32,
  causal: u32,
  hidden_count: u32,
  has_bias: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [C, kv_heads, head_dim], C >= keys; f32 or f16
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [C, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read> q_positions: array<u32>; // [rows] ascending
@group(0) @binding(5) var<storage, read> k_positions: array<u32>; // [keys] ascending
@group(0) @binding(6) var<storage, read> key_bias: array<f32>; // [keys] if has_bias
@group(0) @binding(7) var<storage, read> hidden: array<u32>; // [hidden_count, 3]: start, end, from
@group(0) @binding(8) var<storage, read_write> o: array<vec4<f32>>; // [rows, heads, head_dim]

// Keys a query at `position` may look at: positions ascend, so they are the first ones.
fn visible_prefix(position: u32) -> u32 {
  if (params.causal == 0u) {
    return params.keys;
  }
  var low = 0u;
  var high = params.keys;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (k_positions[middle] <= position) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return low;
}

fn are_visible(q_position: u32, keys: vec4<u32>) -> vec4<bool> {
  let positions = vec4(k_positions[keys.x], k_positions[keys.y], k_positions[keys.z], k_positions[keys.w]);
  var visible = positions <= vec4(select(0xffffffffu, q_position, params.causal != 0u));
  for (var i = 0u; i < params.hidden_count; i++) {
    let inside = (positions >= vec4(hidden[3u * i])) & (positions < vec4(hidden[3u * i + 1u]));
    visible &= !(inside & vec4(q_position >= hidden[3u * i + 2u]));
  }
  return visible;
}

fn bias_of(keys: vec4<u32>) -> vec4<f32> {
  if (params.has_bias == 0u) {
    return vec4<f32>();
  }
  return vec4(key_bias[keys.x], key_bias[keys.y], key_bias[keys.z], key_bias[keys.w]);
}

// Numbers 4 at to 4 at + 3 of an array, given the words that they are in.
fn numbers(words: vec4<u32>, at: u32) -> vec4<f32> {
  let two = select(words.xy, words.zw, at % 2u == 1u);
  return select(bitcast<vec4<f32>>(words), vec4(unpack2x16float(two.x), unpack2x16float(two.y)), PER_WORD == 2u);
}

fn key_at(at: u32) -> vec4<f32> {
  return numbers(k[at / PER_WORD], at);
}

fn value_at(at: u32) -> vec4<f32> {
  return numbers(v[at / PER_WORD], at);
}

// A vector of the weighted value rows of four keys; `at` are its indices in v.
fn weigh(weights: vec4<f32>, at: vec4<u32>) -> vec4<f32> {
  let counts = weights != vec4<f32>();
  return weights.x * select(vec4<f32>(), value_at(at.x), counts.x) + weights.y * select(vec4<f32>(), value_at(at.y), counts.y)
    + weights.z * select(vec4<f32>(), value_at(at.z), counts.z) + weights.w * select(vec4<f32>(), value_at(at.w), counts.w);
}

fn max4(x: vec4<f32>) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let head_quads = params.head_dim / 4u;
  let tiles = (params.rows + THREADS - 1u) / THREADS;
  let column_groups = (head_quads + QUADS - 1u) / QUADS;
  let flat = group.x + group.y * groups.x;
  if (flat >= tiles * params.heads * column_groups) {
    return;
  }
  let first_row = flat % tiles * THREADS;
  let head = flat / tiles % params.heads;
  let first_quad = flat / tiles / params.heads * QUADS;
  let quads = min(QUADS, head_quads - first_quad);
  let kv_head = head / (params.heads / params.kv_heads);
  let limit = visible_prefix(q_positions[min(first_row + THREADS, params.rows) - 1u]);

  // Invocations past the last row repeat it and write nothing.
  let row = min(first_row + thread, params.rows - 1u);
  let q_position = q_positions[row];
  let query = (row * params.heads + head) * head_quads;

  var sums: array<vec4<f32>, 16>; // QUADS of them are used, by constant indices only, so that they stay in registers
  var peak = MASKED;
  var total = 0.0;
  var seen = false;
  for (var base = 0u; base < limit; base += 8u) {
    let indices = array(base + vec4(0u, 1u, 2u, 3u), base + vec4(4u, 5u, 6u, 7u));
    // Keys past the limit repeat the last one and are invisible.
    let keys = array(min(indices[0], vec4(limit - 1u)), min(indices[1], vec4(limit - 1u)));
    let rows = array((keys[0] * params.kv_heads + kv_head) * head_quads, (keys[1] * params.kv_heads + kv_head) * head_quads);

    var dots = array<vec4<f32>, 2>();
    for (var c = 0u; c < head_quads; c++) {
      let x = q[query + c];
      let at = array(rows[0] + c, rows[1] + c);
      dots[0] += vec4(dot(x, key_at(at[0].x)), dot(x, key_at(at[0].y)), dot(x, key_at(at[0].z)), dot(x, key_at(at[0].w)));
      dots[1] += vec4(dot(x, key_at(at[1].x)), dot(x, key_at(at[1].y)), dot(x, key_at(at[1].z)), dot(x, key_at(at[1].w)));
    }
    let visible = array(
      are_visible(q_position, keys[0]) & (indices[0] < vec4(limit)),
      are_visible(q_position, keys[1]) & (indices[1] < vec4(limit)),
    );
    let logits = array(
      select(vec4(MASKED), params.scale * dots[0] + bias_of(keys[0]), visible[0]),
      select(vec4(MASKED), params.scale * dots[1] + bias_of(keys[1]), visible[1]),
    );
    let new_peak = max(peak, max(max4(logits[0]), max4(logits[1])));
    let shrink = exp(peak - new_peak);
    peak = new_peak;
    let low = select(vec4<f32>(), exp(logits[0] - peak), visible[0]);
    let high = select(vec4<f32>(), exp(logits[1] - peak), visible[1]);
    total = total * shrink + dot(low + high, vec4(1.0));
    seen = seen || any(visible[0]) || any(visible[1]);

    for (var half = 0u; half < 2u; half++) {
      let first = half == 0u;
      let weights = select(high, low, first);
      let at = select(rows[1], rows[0], first) + first_quad;
      let scale = select(1.0, shrink, first);
      sums[0] = sums[0] * scale + weigh(weights, at);
      sums[1] = sums[1] * scale + weigh(weights, at + 1u);
      sums[2] = sums[2] * scale + weigh(weights, at + 2u);
      sums[3] = sums[3] * scale + weigh(weights, at + 3u);
      if (QUADS > 4u) {
        sums[4] = sums[4] * scale + weigh(weights, at + 4u);
        sums[5] = sums[5] * scale + weigh(weights, at + 5u);
        sums[6] = sums[6] * scale + weigh(weights, at + 6u);
        sums[7] = sums[7] * scale + weigh(weights, at + 7u);
      }
      if (QUADS > 8u) {
        sums[8] = sums[8] * scale + weigh(weights, at + 8u);
        sums[9] = sums[9] * scale + weigh(weights, at + 9u);
        sums[10] = sums[10] * scale + weigh(weights, at + 10u);
        sums[11] = sums[11] * scale + weigh(weights, at + 11u);
      }
      if (QUADS > 12u) {
        sums[12] = sums[12] * scale + weigh(weights, at + 12u);
        sums[13] = sums[13] * scale + weigh(weights, at + 13u);
        sums[14] = sums[14] * scale + weigh(weights, at + 14u);
        sums[15] = sums[15] * scale + weigh(weights, at + 15u);
      }
    }
  }

  if (first_row + thread >= params.rows) {
    return;
  }
  // A query that sees no key gives zeros: its sums are 0.
  let scale = 1.0 / select(1.0, total, seen);
  let at = query + first_quad;
  o[at] = sums[0] * scale;
  if (quads > 1u) {
    o[at + 1u] = sums[1] * scale;
  }
  if (quads > 2u) {
    o[at + 2u] = sums[2] * scale;
  }
  if (quads > 3u) {
    o[at + 3u] = sums[3] * scale;
  }
  if (quads > 4u) {
    o[at + 4u] = sums[4] * scale;
  }
  if (quads > 5u) {
    o[at + 5u] = sums[5] * scale;
  }
  if (quads > 6u) {
    o[at + 6u] = sums[6] * scale;
  }
  if (quads > 7u) {
    o[at + 7u] = sums[7] * scale;
  }
  if (quads > 8u) {
    o[at + 8u] = sums[8] * scale;
  }
  if (quads > 9u) {
    o[at + 9u] = sums[9] * scale;
  }
  if (quads > 10u) {
    o[at + 10u] = sums[10] * scale;
  }
  if (quads > 11u) {
    o[at + 11u] = sums[11] * scale;
  }
  if (quads > 12u) {
    o[at + 12u] = sums[12] * scale;
  }
  if (quads > 13u) {
    o[at + 13u] = sums[13] * scale;
  }
  if (quads > 14u) {
    o[at + 14u] = sums[14] * scale;
  }
  if (quads > 15u) {
    o[at + 15u] = sums[15] * scale;
  }
}
