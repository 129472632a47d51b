// The score of each token: scoreWeight . LayerNorm(token) + scoreBias. One workgroup per token.
#include "row-stats.wgsl"
struct Params {
  n: u32,
  D: u32,
  hasNormBias: u32,
  eps: f32,
  scoreBias: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // tokens [n, D]
@group(0) @binding(2) var<storage, read> normWeight: array<f32>; // [D]
@group(0) @binding(3) var<storage, read> normBias: array<f32>; // [D]
@group(0) @binding(4) var<storage, read> scoreWeight: array<f32>; // [D]
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [n]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let token = group.x + group.y * groups.x;
  if (token >= p.n) { return; }
  let start = token * p.D;
  let stats = row_stats(start, true, thread);
  var score = 0.0;
  for (var d = thread; d < p.D; d += THREADS) {
    var value = normed(x[start + d], stats) * normWeight[d];
    if (p.hasNormBias != 0u) { value += normBias[d]; }
    score += value * scoreWeight[d];
  }
  score = sum_over_workgroup(vec2(score, 0.0), thread).x;
  if (thread == 0u) { scores[token] = score + p.scoreBias; }
}
