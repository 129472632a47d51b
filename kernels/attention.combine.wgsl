// Joins the slices of attention.row.wgsl, one invocation per element of o.
#include "element.wgsl"
struct Params {
  T: u32,
  H: u32,
  dh: u32,
  slices: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [T, H, slices][dh sums, peak, total (-1: no key seen)]
@group(0) @binding(2) var<storage, read_write> o: array<f32>; // [T, H, dh]
const MASKED = -1e30; // no infinity in WGSL

fn element(at: u32) {
  let dh = p.dh;
  if (at >= p.T * p.H * dh) { return; }
  let stride = dh + 2u;
  let first = at / dh * p.slices * stride;
  var peak = MASKED;
  for (var i = 0u; i < p.slices; i++) { peak = max(peak, parts[first + i * stride + dh]); }
  var sum = 0.0;
  var total = 0.0;
  var seen = false;
  for (var i = 0u; i < p.slices; i++) {
    let part = first + i * stride;
    if (parts[part + dh + 1u] != -1.0) {
      let share = exp(parts[part + dh] - peak);
      sum += share * parts[part + at % dh];
      total += share * parts[part + dh + 1u];
      seen = true;
    }
  }
  var value = 0.0; // of a query that sees no key
  if (seen) { value = sum / total; }
  o[at] = value;
}
