// Copies a buffer: every invocation takes every `stride`-th vec4.
@group(0) @binding(0) var<uniform> quads: u32;
@group(0) @binding(1) var<storage, read_write> goal: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let stride = groups.x * 64u;
  for (var i = id.x; i < quads; i += stride) { goal[i] = source[i]; }
}
