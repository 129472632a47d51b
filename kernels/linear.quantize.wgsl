// Listed rows, normalised where asked, as int8 with a scale to 32 columns. One workgroup per row. Needs row-stats.wgsl and
// int8.wgsl in front.
struct Params {
  R: u32, // listed rows
  D: u32, // their width
  quads: u32, // vec4 per row of x
  start: u32, // added to i in rows
  layer: u32, // 1 layer norm, 0 rms norm
  eps: f32,
  flags: u32, // 1 rows, 2 norm, 4 normBias
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads], padding is zero
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R]
@group(0) @binding(3) var<storage, read> normWeight: array<vec4<f32>>; // [quads], padding is zero
@group(0) @binding(4) var<storage, read> normBias: array<vec4<f32>>; // [quads], padding is zero
@group(0) @binding(5) var<storage, read_write> a: array<u32>; // [R][blocks][8], words of four int8
@group(0) @binding(6) var<storage, read_write> scales: array<f32>; // [R][blocks]

override THREADS: u32 = 64;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = group.x + group.y * groups.x;
  if (i >= p.R) { return; }
  var row = p.start + i;
  if ((p.flags & 1u) != 0u) { row = rows[row]; }
  var stats = vec2(0.0, 1.0);
  if ((p.flags & 2u) != 0u) { stats = row_stats(row * p.quads, thread); }
  let blocks = (p.quads + 7u) / 8u;
  for (var first = 0u; first < blocks * 8u; first += THREADS) {
    let k = first + thread;
    var value = vec4<f32>();
    if (k < p.quads) {
      value = x[row * p.quads + k];
      if ((p.flags & 2u) != 0u) { value = (value - stats.x) * stats.y * normWeight[k]; }
      if ((p.flags & 4u) != 0u) { value += normBias[k]; }
    }
    let scale = scale_of_block(value, thread);
    if (k < blocks * 8u) {
      a[i * blocks * 8u + k] = int8_of(value, scale);
      if (k % 8u == 0u) { scales[i * blocks + k / 8u] = scale; }
    }
  }
}
