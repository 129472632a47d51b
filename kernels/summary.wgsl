// y = sum of softmax(scores) times the tokens, one invocation per column. Every workgroup finds the largest score by itself: tokens are few,
// and a further dispatch costs more.
#include "workgroup.wgsl"
struct Params {
  n: u32,
  D: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> tokens: array<f32>; // [n, D]
@group(0) @binding(2) var<storage, read> scores: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [1, D]
const THREADS = 64u;

var<workgroup> weights: array<f32, THREADS>; // of a block of tokens

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = (group.x + group.y * groups.x) * THREADS;
  if (first >= p.D) { return; }
  var peak = -1e30;
  for (var t = thread; t < p.n; t += THREADS) { peak = max(peak, scores[t]); }
  peak = max_over_workgroup(peak, thread);

  let d = first + thread;
  var total = 0.0;
  var sum = 0.0;
  for (var base = 0u; base < p.n; base += THREADS) {
    workgroupBarrier(); // the weights of the block before are still being read
    if (base + thread < p.n) { weights[thread] = exp(scores[base + thread] - peak); }
    workgroupBarrier();
    for (var i = 0u; i < min(THREADS, p.n - base); i++) {
      total += weights[i];
      if (d < p.D) { sum += weights[i] * tokens[(base + i) * p.D + d]; }
    }
  }
  if (d < p.D) { y[d] = select(sum / total, 0.0, p.n == 0u); }
}
