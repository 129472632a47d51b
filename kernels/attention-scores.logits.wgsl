// Logits of one query row against all keys and their softmax statistics, one workgroup per head.
#include "f16.wgsl"
#include "workgroup.wgsl"
struct Params {
  H: u32,
  Hkv: u32,
  dh: u32,
  S: u32,
  causal: u32,
  qPosition: u32,
  hasBias: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [H, dh]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [C, Hkv, dh], C >= S; f32 or f16
@group(0) @binding(3) var<storage, read> kPositions: array<u32>; // [S]
@group(0) @binding(4) var<storage, read> keyBias: array<f32>; // [S]
@group(0) @binding(5) var<storage, read_write> logits: array<f32>; // [H][S logits, peak, total]
const THREADS = 256u;

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; // compilers may fold x != x
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = group.x + group.y * groups.x;
  if (head >= p.H) { return; }
  let kv_head = head / (p.H / p.Hkv);
  let query = head * p.dh;
  let row = head * (p.S + 2u);

  var peak = -1e30;
  for (var key = thread; key < p.S; key += THREADS) {
    if (p.causal == 0u || kPositions[key] <= p.qPosition) {
      let start = (key * p.Hkv + kv_head) * p.dh;
      var sum = 0.0;
      for (var c = 0u; c < p.dh; c++) { sum += q[query + c] * number(k[(start + c) / PER_WORD], start + c); }
      var logit = p.scale * sum;
      if (p.hasBias != 0u) { logit += keyBias[key]; }
      logits[row + key] = logit;
      peak = max(peak, logit);
    }
  }
  peak = max_over_workgroup(peak, thread);

  var total = 0.0;
  for (var key = thread; key < p.S; key += THREADS) {
    if (p.causal == 0u || kPositions[key] <= p.qPosition) {
      let below = logits[row + key] - peak; // written by this invocation above
      total += select(exp(below), below, is_nan(below)); // exp(NaN) is a number in SwiftShader
    }
  }
  total = sum_over_workgroup(vec2(total, 0.0), thread).x;
  if (thread == 0u) {
    logits[row + p.S] = peak;
    logits[row + p.S + 1u] = total;
  }
}
