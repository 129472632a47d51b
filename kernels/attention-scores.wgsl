// Sum or mean over heads of the softmax probabilities, one invocation per key. Heads are added in ascending order: the same input gives the
// same bits.
#include "element.wgsl"
struct Params {
  H: u32,
  S: u32,
  causal: u32,
  qPosition: u32,
  mean: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [H][S logits, peak, total]
@group(0) @binding(2) var<storage, read> kPositions: array<u32>; // [S]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [S]

fn element(key: u32) {
  if (key >= p.S) { return; }
  var sum = 0.0;
  if (p.causal == 0u || kPositions[key] <= p.qPosition) {
    for (var head = 0u; head < p.H; head++) {
      let row = head * (p.S + 2u);
      let peak = logits[row + p.S];
      let total = logits[row + p.S + 1u];
      sum += exp(logits[row + key] - peak) / total;
    }
    if (p.mean != 0u) { sum /= f32(p.H); }
  }
  scores[key] = sum;
}
