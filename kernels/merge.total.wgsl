// The sum of all unit rows, one invocation per column.

override THREADS: u32 = 64;

struct Params {
  tokens: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read_write> total: array<f32>; // [width]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let column = (group.x + group.y * groups.x) * THREADS + thread;
  if (column >= params.width) {
    return;
  }
  var sum = 0.0;
  for (var token = 0u; token < params.tokens; token++) {
    sum += unit[token * params.width + column];
  }
  total[column] = sum;
}
