// Rows divided by their length, one workgroup per row. Every row is summed in the same order, so that equal rows stay equal.

override THREADS: u32 = 64; // invocations, a power of two

struct Params {
  tokens: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read_write> unit: array<f32>; // [tokens, width]

var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let token = group.x + group.y * groups.x;
  if (token >= params.tokens) {
    return;
  }
  let start = token * params.width;
  var squares = 0.0;
  for (var c = thread; c < params.width; c += THREADS) {
    squares += x[start + c] * x[start + c];
  }
  sums[thread] = squares;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      sums[thread] += sums[thread + step];
    }
  }
  workgroupBarrier();
  let length = sqrt(sums[0]);
  for (var c = thread; c < params.width; c += THREADS) {
    unit[start + c] = x[start + c] / length;
  }
}
