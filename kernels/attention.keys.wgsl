// What both attention kernels know of their keys: which of them a query sees.
#include "f16.wgsl"
struct Params {
  T: u32,
  H: u32,
  Hkv: u32,
  dh: u32,
  S: u32,
  causal: u32,
  hiddenCount: u32,
  hasBias: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> qPositions: array<u32>; // [T] ascending
@group(0) @binding(5) var<storage, read> kPositions: array<u32>; // [S] ascending
@group(0) @binding(6) var<storage, read> keyBias: array<f32>; // [S]
@group(0) @binding(7) var<storage, read> hidden: array<u32>; // [hiddenCount][start, end, from]

// Keys a query at `position` may look at, but for hidden ones. Positions ascend, so they are the first ones.
fn visible_prefix(position: u32) -> u32 {
  if (p.causal == 0u) { return p.S; }
  var low = 0u;
  var high = p.S;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (kPositions[middle] <= position) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return low;
}

// Whether a key is hidden from queries at four positions.
fn are_hidden(q_positions: vec4<u32>, k_position: u32) -> vec4<bool> {
  var found = vec4(false);
  for (var i = 0u; i < p.hiddenCount; i++) {
    let inside = hidden[3u * i] <= k_position && k_position < hidden[3u * i + 1u];
    found |= vec4(inside) & (q_positions >= vec4(hidden[3u * i + 2u]));
  }
  return found;
}
