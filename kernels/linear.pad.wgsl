// Copies rows whose length is no multiple of 4 into rows of whole vec4, for the kernels that read x as vec4.
struct Params {
  R: u32, // rows
  K: u32, // their length
  quads: u32, // vec4 per row of y
  hasRows: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, K]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [R][quads]

const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = (group.x + group.y * groups.x) * THREADS + thread;
  if (flat >= p.R * p.quads) { return; }
  var row = flat / p.quads;
  let k = flat % p.quads * 4u;
  if (p.hasRows != 0u) { row = rows[row]; }
  let at = row * p.K + k;
  var value = vec4<f32>();
  if (k < p.K) { value.x = x[at]; }
  if (k + 1u < p.K) { value.y = x[at + 1u]; }
  if (k + 2u < p.K) { value.z = x[at + 2u]; }
  if (k + 3u < p.K) { value.w = x[at + 3u]; }
  y[flat] = value;
}
