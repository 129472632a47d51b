// What a gathered FFN makes of its inner product. Comes in front of product.tiles.wgsl and product.few-rows.wgsl.
#include "gathered-ffn.inner.wgsl"
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // [R][4 * quads of M], padding is zero
@group(0) @binding(5) var<storage, read> normBias: array<vec4<f32>>; // [quads of K], padding is zero

fn finish(i: u32, m: u32, first: f32, second: f32) {
  h[i * ((p.M + 3u) / 4u * 4u) + m] = inner(m, first, second);
}

fn is_layer() -> bool { return p.layer != 0u; }

fn norm_bias(k: u32) -> vec4<f32> {
  if (p.hasNormBias == 0u) { return vec4<f32>(); }
  return normBias[k];
}
