// Mean and deviation of a row, for the kernels that normalise rows. They declare `x: array<f32>`, THREADS (see workgroup.wgsl), and in Params
// the width D and eps.
#include "workgroup.wgsl"
#include "range.wgsl"

struct RowStats {
  factor: f32, // a power of two: 1, or what brings a row near 1 whose squares leave f32
  mean: f32, // of the row times that factor; 0 for an RMSNorm
  rest: f32, // by how much that mean is off
  square: f32, // the mean square of the deviations from that mean, and eps
  scale: f32,
}

fn normed(value: f32, stats: RowStats) -> f32 {
  return (value * stats.factor - stats.mean - stats.rest) * stats.scale;
}

// Of x[start] to x[start + D - 1], as LayerNorm or RMSNorm takes them. Every invocation calls it.
fn row_stats(start: u32, is_layer: bool, thread: u32) -> RowStats {
  var stats = RowStats();
  var factor = 1.0;
  var is_scaled = false;
  // A loop, not two calls: compilers inline them.
  loop {
    stats = row_stats_times(factor, start, is_layer, thread);
    if (is_scaled || is_in_range(stats.square)) { break; }
    var most = sqrt(p.eps);
    for (var d = thread; d < p.D; d += THREADS) { most = max(most, abs(x[start + d])); }
    factor = factor_to_one(max_over_workgroup(most, thread));
    is_scaled = true;
  }
  return stats;
}

// In two passes: the sum of squares minus the squared mean would cancel where the mean is large. The second pass also sums the deviations
// themselves; they would add up to 0 if the mean were exact, so their sum corrects both results.
fn row_stats_times(factor: f32, start: u32, is_layer: bool, thread: u32) -> RowStats {
  let count = f32(p.D);
  var mean = 0.0;
  if (is_layer) {
    var sum = 0.0;
    for (var d = thread; d < p.D; d += THREADS) { sum += x[start + d] * factor; }
    mean = sum_over_workgroup(vec2(sum, 0.0), thread).x / count;
  }
  var sums = vec2<f32>();
  for (var d = thread; d < p.D; d += THREADS) {
    let deviation = x[start + d] * factor - mean;
    sums += vec2(deviation, deviation * deviation);
  }
  let means = sum_over_workgroup(sums, thread) / count;
  let rest = select(0.0, means.x, is_layer);
  let least = sqrt(p.eps) * factor; // its square is in range, that of the factor may not be
  // An RMSNorm's needs no clamp, and some drivers' max(NaN, 0) is 0: NaN in a row is to stay.
  let variance = select(means.y, max(means.y - rest * rest, 0.0), is_layer);
  // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
  let scale = 1.0 / sqrt(variance + least * least);
  return RowStats(factor, mean, rest, means.y + least * least, scale);
}
