// y[at + i] = table[ids[i]], one invocation per element. Bits are copied as u32: a float load may flush or quiet them.

override THREADS: u32 = 64;

struct Params {
  elements: u32, // n * width
  width: u32,
  at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>; // [V, width]
@group(0) @binding(2) var<storage, read> ids: array<u32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // [U, width]

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
  let source = ids[element / params.width] * params.width + element % params.width;
  y[params.at * params.width + element] = table[source];
}
