// The sum of a token's cosines with all tokens, one workgroup per token. Its own cosine, the largest, is left in: it changes no order, and
// taking it away would round small differences off.
#include "workgroup.wgsl"
struct Params {
  N: u32,
  C: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [N, C]
@group(0) @binding(2) var<storage, read> total: array<f32>; // [C]
@group(0) @binding(3) var<storage, read_write> redundancy: array<f32>; // [N]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let token = group.x + group.y * groups.x;
  if (token >= p.N) { return; }
  var sum = 0.0;
  for (var c = thread; c < p.C; c += THREADS) { sum += unit[token * p.C + c] * total[c]; }
  sum = sum_over_workgroup(vec2(sum, 0.0), thread).x;
  if (thread == 0u) { redundancy[token] = sum; }
}
