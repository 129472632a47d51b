// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight. One workgroup per row; f32 sums.
struct Params {
  T: u32, // rows
  D: u32, // width
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, D]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [D]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [T, D]

override THREADS: u32 = 64; // a power of two
var<workgroup> part: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= p.T) { return; } // depends on the workgroup only, so the barriers below stay uniform
  let start = row * p.D;
  var squares = 0.0;
  for (var d = thread; d < p.D; d += THREADS) {
    let value = x[start + d];
    squares += value * value;
  }
  part[thread] = squares;
  workgroupBarrier();
  for (var step = THREADS / 2; step > 0; step /= 2) {
    if (thread < step) { part[thread] += part[thread + step]; }
    workgroupBarrier();
  }
  // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
  let scale = 1.0 / sqrt(part[0] / f32(p.D) + p.eps);
  for (var d = thread; d < p.D; d += THREADS) {
    y[start + d] = x[start + d] * scale * weight[d];
  }
}
