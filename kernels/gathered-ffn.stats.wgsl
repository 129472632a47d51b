// What the LayerNorm of a gathered FFN needs of each listed row. One workgroup per row.
#include "row-stats.wgsl"
struct Params {
  R: u32, // listed rows
  D: u32,
  hasRows: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T][4 * quads of D], padding is zero
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(3) var<storage, read_write> stats: array<vec4<u32>>; // [R][row, factor, mean, scale], floats as bits
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = group.x + group.y * groups.x;
  if (i >= p.R) { return; }
  var row = i;
  if (p.hasRows != 0u) { row = rows[i]; }
  let found = row_stats(row * ((p.D + 3u) / 4u * 4u), true, thread);
  if (thread == 0u) { stats[i] = vec4(row, bitcast<u32>(found.factor), bitcast<u32>(found.mean + found.rest), bitcast<u32>(found.scale)); }
}
