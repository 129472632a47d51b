// Rotates pairs of x in place, one invocation per pair: (a, b) -> (a cos - b sin, b cos + a sin). The tables come from the
// host because WGSL's sin and cos are only good to 2^-11.

override THREADS: u32 = 64;

struct Params {
  pairs: u32, // rows * heads * half_dim
  heads: u32,
  half_dim: u32,
  step: u32, // from one pair's first element to the next pair's
  partner: u32, // from a pair's first element to its second
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>; // [rows, heads, 2 * half_dim]
@group(0) @binding(2) var<storage, read> cosines: array<f32>; // [rows, half_dim]
@group(0) @binding(3) var<storage, read> sines: array<f32>; // [rows, half_dim]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let pair = (group.x + group.y * groups.x) * THREADS + thread;
  if (pair >= params.pairs) {
    return;
  }
  let column = pair % params.half_dim;
  let head = pair / params.half_dim; // row * heads + head
  let angle = head / params.heads * params.half_dim + column;
  let first = head * 2u * params.half_dim + column * params.step;
  let second = first + params.partner;
  let a = x[first];
  let b = x[second];
  x[first] = a * cosines[angle] - b * sines[angle];
  x[second] = b * cosines[angle] + a * sines[angle];
}
