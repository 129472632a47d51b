// y = the mean of the tokens of each group, one invocation per element. Tokens are added in ascending order by one invocation: the same input
// gives the same bits.
struct Params {
  N: u32,
  M: u32,
  C: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C]
@group(0) @binding(2) var<storage, read> assignment: array<u32>; // [N], a row of y
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [M, C]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  // A workgroup stays within one row, so that all its invocations skip the same tokens.
  let slices = (p.C + THREADS - 1u) / THREADS;
  let flat = group.x + group.y * groups.x;
  let row = flat / slices;
  let c = flat % slices * THREADS + thread;
  if (row >= p.M || c >= p.C) { return; }
  var sum = 0.0;
  var count = 0.0;
  for (var token = 0u; token < p.N; token++) {
    if (assignment[token] == row) {
      sum += x[token * p.C + c];
      count += 1.0;
    }
  }
  y[row * p.C + c] = sum / count;
}
