// Reads a buffer once: every invocation takes every `stride`-th vec4.
@group(0) @binding(0) var<uniform> quads: u32;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let stride = groups.x * 64u;
  var sum = vec4<f32>();
  for (var i = id.x; i < quads; i += stride) { sum += source[i]; }
  if (sum.x + sum.y + sum.z + sum.w == 12345.0) { out[0] = sum.x; } // never: it only keeps the work
}
