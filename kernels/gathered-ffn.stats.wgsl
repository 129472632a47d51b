// What the layer norm of a gathered FFN needs per listed row: (row, mean, 1 / deviation). One workgroup per row. Needs row-stats.wgsl
// in front.
struct Params {
  R: u32, // listed rows
  D: u32, // width
  quads: u32, // vec4 per row of x
  hasRows: u32,
  layer: u32, // 1
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads], padding is zero
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(3) var<storage, read_write> stats: array<vec4<u32>>; // [R], floats as bits

override THREADS: u32 = 64;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = group.x + group.y * groups.x;
  if (i >= p.R) { return; }
  var row = i;
  if (p.hasRows != 0u) { row = rows[i]; }
  let found = row_stats(row * p.quads, thread);
  if (thread == 0u) { stats[i] = vec4(row, bitcast<u32>(found.x), bitcast<u32>(found.y), 0u); }
}
