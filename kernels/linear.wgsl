// What a linear layer makes of a product: y[out(i)] = or += rowGate[i] * act(x[row(i)] W^T + bias). Comes in front of product.tiles.wgsl and
// product.few-rows.wgsl, and is part of linear.integers.wgsl.
struct Params {
  R: u32, // rows of the product, at least 1
  K: u32, // inputs
  N: u32, // columns of y
  first: u32, // column of y where the slice of the weight begins
  count: u32, // columns of that slice
  start: u32, // added to i in rows, outRows and rowGate
  firstRow: u32, // row of y of row 0 of the product, without outRows
  activation: u32,
  hasRows: u32,
  hasBias: u32,
  hasOutRows: u32,
  hasRowGate: u32,
  accumulate: u32,
  rms: u32, // 1: rows are normalised by an RMSNorm
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(3) var<storage, read> outRows: array<u32>; // [start + R]
@group(0) @binding(4) var<storage, read> rowGate: array<f32>; // [start + R]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [U, N]

fn finish(i: u32, n: u32, sum: f32, second: f32) {
  var row = p.firstRow + i;
  if (p.hasOutRows != 0u) { row = outRows[p.start + i]; }
  var value = sum;
  if (p.hasBias != 0u) { value += bias[n]; }
  value = activate(p.activation, value);
  if (p.hasRowGate != 0u) { value *= rowGate[p.start + i]; }
  if (p.accumulate != 0u) { value += y[row * p.N + n]; }
  y[row * p.N + n] = value;
}

// It knows no LayerNorm.
fn is_layer() -> bool { return false; }
fn norm_bias(k: u32) -> vec4<f32> { return vec4<f32>(); }
