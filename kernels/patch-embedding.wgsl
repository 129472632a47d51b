// Lays out patches as rows for the product with the weight, and fills y with what is added to that product:
// position embedding, and bias or class embedding. One invocation per vec4 of patches or element of y.
#include "element.wgsl"
struct Params {
  P: u32, // rows of y
  D: u32,
  first: u32, // 1 with a class row, else 0
  channels: u32,
  height: u32,
  width: u32,
  patchSize: u32,
  hasBias: u32,
  hasPositions: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>; // [channels, height, width]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [D]
@group(0) @binding(3) var<storage, read> classEmbedding: array<f32>; // [D]
@group(0) @binding(4) var<storage, read> positionEmbedding: array<f32>; // [P, D]
@group(0) @binding(5) var<storage, read_write> patches: array<vec4<f32>>; // [P - first][quads of channels * patchSize^2], padding is zero
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [P, D]

fn element(flat: u32) {
  let area = p.patchSize * p.patchSize;
  let quads = (p.channels * area + 3u) / 4u;
  if (flat < (p.P - p.first) * quads) {
    let columns = p.width / p.patchSize;
    let patch_index = flat / quads;
    let top = patch_index / columns * p.patchSize;
    let left = patch_index % columns * p.patchSize;
    var value = vec4<f32>();
    for (var e = 0u; e < 4u; e++) {
      let k = flat % quads * 4u + e;
      let channel = k / area;
      if (channel < p.channels) {
        let line = top + k % area / p.patchSize;
        value[e] = pixels[(channel * p.height + line) * p.width + left + k % p.patchSize];
      }
    }
    patches[flat] = value;
  }
  if (flat < p.P * p.D) {
    let d = flat % p.D;
    var value = 0.0;
    if (flat < p.first * p.D) {
      value = classEmbedding[d];
    } else if (p.hasBias != 0u) {
      value = bias[d];
    }
    if (p.hasPositions != 0u) { value += positionEmbedding[flat]; }
    y[flat] = value;
  }
}
