// Softmax attention for few query rows: one workgroup per row, head and slice of the keys, so that decoding fills a GPU too.
// Invocations are the keys of a block while logits are computed and columns while values are added up. With one slice the
// result is final; with more, each leaves sums, peak and total for attention.combine.wgsl.
// An invisible key weighs 0 and is skipped by a branch, never multiplied, so that infinity in its value row stays out.

override THREADS: u32 = 64; // invocations, a power of two: keys of a block, columns of a step
override PER_WORD: u32 = 1u; // numbers in 32 bits of k and v: f32, or 2 of f16 and head_dim is even
const STEPS = 4u; // columns of o per invocation
const MASKED = -1e30; // no infinity in WGSL

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  head_dim: u32,
  keys: u32,
  causal: u32,
  hidden_count: u32,
  has_bias: u32,
  scale: f32,
  slices: u32,
  slice_keys: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [rows, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [C, kv_heads, head_dim], C >= keys; f32 or f16
@group(0) @binding(3) var<storage, read> v: array<u32>; // [C, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read> q_positions: array<u32>; // [rows] ascending
@group(0) @binding(5) var<storage, read> k_positions: array<u32>; // [keys] ascending
@group(0) @binding(6) var<storage, read> key_bias: array<f32>; // [keys] if has_bias
@group(0) @binding(7) var<storage, read> hidden: array<u32>; // [hidden_count, 3]: start, end, from
@group(0) @binding(8) var<storage, read_write> o: array<f32>; // [rows, heads, head_dim], or [rows, heads, slices, head_dim + 2]

var<workgroup> weights: array<f32, THREADS>;
var<workgroup> values: array<f32, THREADS>;

// Number `at` of an array, given the word that it is in.
fn number(word: u32, at: u32) -> f32 {
  return select(bitcast<f32>(word), unpack2x16float(word)[at % 2u], PER_WORD == 2u);
}

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

fn is_hidden(q_position: u32, k_position: u32) -> bool {
  for (var i = 0u; i < params.hidden_count; i++) {
    if (hidden[3u * i] <= k_position && k_position < hidden[3u * i + 1u] && q_position >= hidden[3u * i + 2u]) {
      return true;
    }
  }
  return false;
}

fn max_over_workgroup(value: f32, thread: u32) -> f32 {
  values[thread] = value;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      values[thread] = max(values[thread], values[thread + step]);
    }
  }
  workgroupBarrier();
  let largest = values[0];
  workgroupBarrier(); // the next use may only overwrite it when everyone has read it
  return largest;
}

fn sum_over_workgroup(value: f32, thread: u32) -> f32 {
  values[thread] = value;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      values[thread] += values[thread + step];
    }
  }
  workgroupBarrier();
  let total = values[0];
  workgroupBarrier();
  return total;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let head_dim = params.head_dim;
  let columns = THREADS * STEPS;
  let column_groups = (head_dim + columns - 1u) / columns;
  let flat = group.x + group.y * groups.x;
  let pairs = params.rows * params.heads;
  if (flat >= pairs * column_groups * params.slices) {
    return;
  }
  let pair = flat % pairs; // row * heads + head
  let first_column = flat / pairs % column_groups * columns;
  let slice = flat / pairs / column_groups;
  let kv_head = pair % params.heads / (params.heads / params.kv_heads);
  let q_position = q_positions[pair / params.heads];
  let limit = min(visible_prefix(q_position), (slice + 1u) * params.slice_keys);

  var sums: array<f32, STEPS>; // columns first_column + thread + THREADS * (0 .. 3)
  var peak = MASKED;
  var total = 0.0; // of this invocation's keys
  var seen = 0u;
  for (var base = slice * params.slice_keys; base < limit; base += THREADS) {
    let block = min(THREADS, limit - base);
    let key = base + thread;
    var visible = false;
    var logit = MASKED;
    if (thread < block) {
      visible = !is_hidden(q_position, k_positions[key]);
    }
    if (visible) {
      let start = (key * params.kv_heads + kv_head) * head_dim;
      var dot = 0.0;
      for (var c = 0u; c < head_dim; c++) {
        dot += q[pair * head_dim + c] * number(k[(start + c) / PER_WORD], start + c);
      }
      logit = params.scale * dot;
      if (params.has_bias != 0u) {
        logit += key_bias[key];
      }
    }
    let new_peak = max(peak, max_over_workgroup(logit, thread));
    let shrink = exp(peak - new_peak);
    peak = new_peak;
    total *= shrink;
    var weight = 0.0;
    if (visible) {
      weight = exp(logit - peak);
      total += weight;
      seen++;
    }
    weights[thread] = weight;
    workgroupBarrier();
    for (var i = 0u; i < STEPS; i++) {
      let column = first_column + thread + THREADS * i;
      if (column < head_dim) {
        var sum = 0.0;
        for (var j = 0u; j < block; j++) {
          if (weights[j] != 0.0) {
            let at = ((base + j) * params.kv_heads + kv_head) * head_dim + column;
            sum += weights[j] * number(v[at / PER_WORD], at);
          }
        }
        sums[i] = sums[i] * shrink + sum;
      }
    }
    // The barriers of the next maximum keep weights alive until everyone has read them.
  }

  let all = sum_over_workgroup(total, thread);
  let some_seen = sum_over_workgroup(f32(seen), thread) > 0.0;
  let final_result = params.slices == 1u;
  let start = select((pair * params.slices + slice) * (head_dim + 2u), pair * head_dim, final_result);
  for (var i = 0u; i < STEPS; i++) {
    let column = first_column + thread + THREADS * i;
    if (column < head_dim) {
      var value = 0.0; // of a query that sees no key
      if (some_seen) {
        value = sums[i];
        if (final_result) {
          value /= all;
        }
      }
      o[start + column] = value;
    }
  }
  if (!final_result && first_column == 0u && thread == 0u) {
    o[start + head_dim] = peak;
    o[start + head_dim + 1u] = select(-1.0, all, some_seen); // a total of -1: no key seen
  }
}
