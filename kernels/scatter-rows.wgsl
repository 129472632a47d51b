// x[rows[i]] += gate[i] * (y[i] - x[rows[i]]) or, without a gate, x[rows[i]] = y[i]; one invocation per element.
#include "element.wgsl"
struct Params {
  R: u32,
  D: u32,
  hasGate: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [R, D]
@group(0) @binding(3) var<storage, read> gate: array<f32>; // [R]
@group(0) @binding(4) var<storage, read_write> x: array<f32>; // [T, D]

fn element(at: u32) {
  if (at >= p.R * p.D) { return; }
  let i = at / p.D;
  let to = rows[i] * p.D + at % p.D;
  if (p.hasGate == 0u) {
    x[to] = y[at];
  } else {
    x[to] += gate[i] * (y[at] - x[to]);
  }
}
