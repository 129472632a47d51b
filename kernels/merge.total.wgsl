// The sum of all unit rows, one invocation per column.
#include "element.wgsl"
struct Params {
  N: u32,
  C: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [N, C]
@group(0) @binding(2) var<storage, read_write> total: array<f32>; // [C]

fn element(c: u32) {
  if (c >= p.C) { return; }
  var sum = 0.0;
  for (var token = 0u; token < p.N; token++) { sum += unit[token * p.C + c]; }
  total[c] = sum;
}
