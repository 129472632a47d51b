// The sum of all unit rows, one invocation per column.
struct Params {
  N: u32,
  C: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [N, C]
@group(0) @binding(2) var<storage, read_write> total: array<f32>; // [C]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let c = (group.x + group.y * groups.x) * THREADS + thread;
  if (c >= p.C) { return; }
  var sum = 0.0;
  for (var token = 0u; token < p.N; token++) { sum += unit[token * p.C + c]; }
  total[c] = sum;
}
