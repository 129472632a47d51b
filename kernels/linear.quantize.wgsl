// Listed rows, normalised where asked, as int8 with a scale to 32 columns. One workgroup per row.
#include "row-stats.wgsl"
#include "int8.wgsl"
struct Params {
  R: u32, // listed rows
  D: u32,
  start: u32, // added to i in rows
  hasRows: u32,
  hasNorm: u32,
  hasNormBias: u32,
  layer: u32, // 1 LayerNorm, 0 RMSNorm
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T][4 * quads of D], padding is zero
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R]
@group(0) @binding(3) var<storage, read> normWeight: array<vec4<f32>>; // [quads of D], padding is zero
@group(0) @binding(4) var<storage, read> normBias: array<vec4<f32>>; // [quads of D], padding is zero
@group(0) @binding(5) var<storage, read_write> a: array<u32>; // [R][blocks of D][8], words of four int8
@group(0) @binding(6) var<storage, read_write> scales: array<f32>; // [R][blocks of D]
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = group.x + group.y * groups.x;
  if (i >= p.R) { return; }
  var row = p.start + i;
  if (p.hasRows != 0u) { row = rows[row]; }
  let quads = (p.D + 3u) / 4u;
  let start = row * quads * 4u;
  var stats = RowStats(1.0, 0.0, 0.0, 1.0, 1.0);
  if (p.hasNorm != 0u) { stats = row_stats(start, p.layer != 0u, thread); }
  let blocks = (p.D + 31u) / 32u;
  for (var first = 0u; first < blocks * 8u; first += THREADS) {
    let k = first + thread;
    var value = vec4<f32>();
    if (k < quads) {
      let at = start + 4u * k;
      value = vec4(normed(x[at], stats), normed(x[at + 1u], stats), normed(x[at + 2u], stats), normed(x[at + 3u], stats));
      if (p.hasNorm != 0u) { value *= normWeight[k]; }
      if (p.hasNormBias != 0u) { value += normBias[k]; }
    }
    let scale = scale_of_block(value, thread);
    if (k < blocks * 8u) {
      a[i * blocks * 8u + k] = int8_of(value, scale);
      if (k % 8u == 0u) { scales[i * blocks + k / 8u] = scale; }
    }
  }
}
