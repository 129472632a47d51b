// Copies new keys and values into the cache from row `at` on, one invocation per element of both.

override THREADS: u32 = 64;

struct Params {
  elements: u32, // A * new_rows * width
  block: u32, // new_rows * width
  width: u32,
  capacity: u32,
  at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k_new: array<u32>; // [A, new_rows, width], bits of f32
@group(0) @binding(2) var<storage, read> v_new: array<u32>; // [A, new_rows, width]
@group(0) @binding(3) var<storage, read_write> k: array<u32>; // [A, capacity, width]
@group(0) @binding(4) var<storage, read_write> v: array<u32>; // [A, capacity, width]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let element = (group.x + group.y * groups.x) * THREADS + thread;
  if (element >= params.elements) {
    return;
  }
  let outer = element / params.block;
  let to = (outer * params.capacity + params.at) * params.width + element % params.block;
  k[to] = k_new[element];
  v[to] = v_new[element];
}
