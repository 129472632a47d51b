// A channel of the inner layer of a gathered FFN: h[i] = act(n Wg^T + bg) * (n Wu^T + bu), or without a gate act(n Wu^T + bu), with
// n = norm(x[row(i)]). The outer layer is linear.wgsl.
struct Params {
  R: u32, // rows of h, at least 1
  K: u32, // inputs: D of the op
  M: u32, // columns of h that are no padding
  first: u32, // column of h where the slice of the weight begins
  count: u32, // columns of that slice, and the padding of h behind them
  start: u32, // added to i in rows
  activation: u32,
  hasRows: u32,
  hasGateBias: u32,
  hasUpBias: u32,
  hasNormBias: u32,
  rms: u32, // 1: rows are normalised by an RMSNorm
  layer: u32, // 1: by a LayerNorm
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(3) var<storage, read> upBias: array<f32>; // [M]

// From its sums, with a gate two. Padding (m >= M) becomes 0, as act(0) is.
fn inner(m: u32, first: f32, second: f32) -> f32 {
  var value = first;
  var up = second;
  if (m < p.M) {
    if (PARTS == 2u && p.hasGateBias != 0u) { value += gateBias[m]; }
    if (p.hasUpBias != 0u) {
      if (PARTS == 2u) { up += upBias[m]; } else { value += upBias[m]; }
    }
  }
  value = activate(p.activation, value);
  if (PARTS == 2u) { value *= up; }
  return value;
}
