// Copies rows whose length is no multiple of 4 into rows of whole vec4, for the kernels that read x as vec4. One invocation per vec4.
struct Params {
  R: u32,
  K: u32,
  hasRows: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, K]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [R][quads of K], padding is zero
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let flat = (group.x + group.y * groups.x) * THREADS + thread;
  let quads = (p.K + 3u) / 4u;
  if (flat >= p.R * quads) { return; }
  var row = flat / quads;
  let k = flat % quads * 4u;
  if (p.hasRows != 0u) { row = rows[row]; }
  let at = row * p.K + k;
  var value = vec4<f32>();
  for (var e = 0u; e < 4u && k + e < p.K; e++) { value[e] = x[at + e]; }
  y[flat] = value;
}
