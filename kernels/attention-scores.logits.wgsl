// Logits of one query row against all keys and their softmax statistics, one workgroup per head.

override THREADS: u32 = 256; // invocations, a power of two
override PER_WORD: u32 = 1u; // numbers in 32 bits of k: f32, or 2 of f16 and head_dim is even

struct Params {
  heads: u32,
  kv_heads: u32,
  head_dim: u32,
  keys: u32,
  causal: u32,
  q_position: u32,
  has_bias: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [C, kv_heads, head_dim], C >= keys; f32 or f16
@group(0) @binding(3) var<storage, read> k_positions: array<u32>; // [keys]
@group(0) @binding(4) var<storage, read> key_bias: array<f32>; // [keys] if has_bias
@group(0) @binding(5) var<storage, read_write> logits: array<f32>; // [heads, keys + 2]: logits, peak, total

var<workgroup> values: array<f32, THREADS>;

// Number `at` of an array, given the word that it is in.
fn number(word: u32, at: u32) -> f32 {
  return select(bitcast<f32>(word), unpack2x16float(word)[at % 2u], PER_WORD == 2u);
}

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; // compilers may fold x != x
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let head = group.x + group.y * groups.x;
  if (head >= params.heads) {
    return;
  }
  let kv_head = head / (params.heads / params.kv_heads);
  let query = head * params.head_dim;
  let row = head * (params.keys + 2u);

  var peak = -1e30;
  for (var key = thread; key < params.keys; key += THREADS) {
    if (params.causal == 0u || k_positions[key] <= params.q_position) {
      let start = (key * params.kv_heads + kv_head) * params.head_dim;
      var sum = 0.0;
      for (var c = 0u; c < params.head_dim; c++) {
        sum += q[query + c] * number(k[(start + c) / PER_WORD], start + c);
      }
      var logit = params.scale * sum;
      if (params.has_bias != 0u) {
        logit += key_bias[key];
      }
      logits[row + key] = logit;
      peak = max(peak, logit);
    }
  }
  values[thread] = peak;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      values[thread] = max(values[thread], values[thread + step]);
    }
  }
  workgroupBarrier();
  peak = values[0];
  workgroupBarrier(); // everyone has the peak before values is reused

  var total = 0.0;
  for (var key = thread; key < params.keys; key += THREADS) {
    if (params.causal == 0u || k_positions[key] <= params.q_position) {
      let below = logits[row + key] - peak; // written by this invocation above
      total += select(exp(below), below, is_nan(below)); // exp(NaN) is a number in SwiftShader
    }
  }
  values[thread] = total;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      values[thread] += values[thread + step];
    }
  }
  if (thread == 0u) {
    logits[row + params.keys] = peak;
    logits[row + params.keys + 1u] = values[0];
  }
}
