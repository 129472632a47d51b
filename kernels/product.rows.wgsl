// The rows of f32 that a product reads, normalised on the way where that is asked. Params hold `start` and R, hasRows, rms (whether by an
// RMSNorm) and eps. The kernel in front tells by is_layer() whether by a LayerNorm, and by norm_bias(k) vec4 k of its bias.
#include "product.wgsl"
#include "range.wgsl"
@group(0) @binding(6) var<storage, read> x: array<vec4<f32>>; // [T][quads of K], padding is zero
@group(0) @binding(7) var<storage, read> rows: array<u32>; // [start + R]; for a LayerNorm [start + R][row, factor, mean, scale], see row-stats.wgsl
@group(0) @binding(8) var<storage, read> normWeight: array<vec4<f32>>; // [quads of K], padding is zero

struct Row {
  start: u32, // vec4 where it begins
  factor: f32,
  mean: f32,
  scale: f32,
}

// Row i of the product; past the end that of the last one, which is not stored.
fn row_of(i: u32) -> Row {
  let at = p.start + min(i, p.R - 1u);
  if (is_layer()) {
    let entry = 4u * at;
    return Row(rows[entry] * row_quads(), bitcast<f32>(rows[entry + 1u]), bitcast<f32>(rows[entry + 2u]), bitcast<f32>(rows[entry + 3u]));
  }
  if (p.hasRows != 0u) { return Row(rows[at] * row_quads(), 1.0, 0.0, 1.0); }
  return Row(at * row_quads(), 1.0, 0.0, 1.0);
}

// Weight and bias of a norm at vec4 k; 1 and 0 without.
struct Affine {
  weight: vec4<f32>,
  bias: vec4<f32>,
}

fn affine(k: u32) -> Affine {
  if (is_layer()) { return Affine(normWeight[k], norm_bias(k)); }
  if (p.rms != 0u) { return Affine(normWeight[k], vec4<f32>()); }
  return Affine(vec4(1.0), vec4<f32>());
}

// A value of a row with that. An RMSNorm leaves its scale to the sums, as that is the same for a whole row.
fn normed(value: vec4<f32>, row: Row, norm: Affine) -> vec4<f32> {
  if (is_layer()) { return (value * row.factor - row.mean) * row.scale * norm.weight + norm.bias; }
  return value * norm.weight;
}

// `sum` and the products of four inputs with their depths of four columns, in the order of the depths.
fn add_products(a: vec4<f32>, b: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

// What the sums of a row are multiplied with by an RMSNorm, from the sum of its squares.
fn rms_scale(squares: f32, row: Row) -> f32 {
  let mean = squares / f32(p.K) + p.eps;
  // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
  if (is_in_range(mean)) { return 1.0 / sqrt(mean); }
  // The squares once more, of the row brought near 1, by one invocation alone: slow, and rare.
  var factor = factor_to_one(sqrt(p.eps));
  var sum = 0.0;
  for (var k = 0u; k < row_quads(); k++) {
    let value = x[row.start + k];
    let most = abs(value);
    let smaller = min(factor, factor_to_one(max(max(most.x, most.y), max(most.z, most.w))));
    sum = sum * (smaller / factor) * (smaller / factor) + dot(value * smaller, value * smaller);
    factor = smaller;
  }
  let least = sqrt(p.eps) * factor;
  return factor / sqrt(sum / f32(p.K) + least * least);
}
