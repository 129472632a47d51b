// LayerNorm, y[t] = (x[t] - mean) / sqrt(variance + eps) * weight + bias, or RMSNorm, x[t] / sqrt(mean(x[t]^2) + eps) * weight. One workgroup per
// row. Every row is summed in the same order, so that equal rows stay equal.
#include "row-stats.wgsl"
struct Params {
  T: u32,
  D: u32,
  layer: u32, // 1 LayerNorm, 0 RMSNorm
  hasWeight: u32,
  hasBias: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, D]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [D]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [D]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [T, D]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let t = group.x + group.y * groups.x;
  if (t >= p.T) { return; } // the same for a whole workgroup, so that no barrier below is missed
  let start = t * p.D;
  let stats = row_stats(start, p.layer != 0u, thread);
  for (var d = thread; d < p.D; d += THREADS) {
    var value = normed(x[start + d], stats);
    if (p.hasWeight != 0u) { value *= weight[d]; }
    if (p.hasBias != 0u) { value += bias[d]; }
    y[start + d] = value;
  }
}
