// Mean and 1 / deviation of a row, put in front of the kernels that normalise rows. They declare `x`, THREADS, a power of two,
// and in `p` the width D, the vec4 of a row `quads`, `layer` (1 layer norm, 0 rms norm) and `eps`.
var<workgroup> partial: array<f32, THREADS>;

// Sum over the workgroup. Every thread calls it.
fn total(value: f32, thread: u32) -> f32 {
  partial[thread] = value;
  workgroupBarrier();
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    if (thread < step) { partial[thread] += partial[thread + step]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

// Of the row that begins at vec4 `start`; the mean is 0 for rms. f32 sums, the deviation in a second pass over the row.
fn row_stats(start: u32, thread: u32) -> vec2<f32> {
  var mean = 0.0;
  if (p.layer != 0u) {
    var sum = 0.0;
    for (var k = thread; k < p.quads; k += THREADS) { sum += dot(x[start + k], vec4(1.0)); }
    mean = total(sum, thread) / f32(p.D);
  }
  var squares = 0.0;
  for (var k = thread; k < p.quads; k += THREADS) {
    // Padding at the end of a row must not count as a deviation.
    let kept = vec4(4u * k) + vec4(0u, 1u, 2u, 3u) < vec4(p.D);
    let value = select(vec4<f32>(), x[start + k] - mean, kept);
    squares += dot(value, value);
  }
  return vec2(mean, 1.0 / sqrt(total(squares, thread) / f32(p.D) + p.eps));
}
