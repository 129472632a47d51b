// y = the mean of the tokens of each group, one invocation per element. Tokens are added in ascending order by one invocation:
// the same input gives the same bits.

override THREADS: u32 = 64;

struct Params {
  tokens: u32,
  kept: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read> assignment: array<u32>; // [tokens], a row of y
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [kept, width]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  // A workgroup stays within one row, so that all its invocations skip the same tokens.
  let slices = (params.width + THREADS - 1u) / THREADS;
  let flat = group.x + group.y * groups.x;
  let row = flat / slices;
  let column = flat % slices * THREADS + thread;
  if (row >= params.kept || column >= params.width) {
    return;
  }
  var sum = 0.0;
  var count = 0.0;
  for (var token = 0u; token < params.tokens; token++) {
    if (assignment[token] == row) {
      sum += x[token * params.width + column];
      count += 1.0;
    }
  }
  y[row * params.width + column] = sum / count;
}
