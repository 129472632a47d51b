// For sums of squares that leave f32, of numbers from 1e19 on or below 1e-19: what is summed is brought near 1 first.

// Whether a mean of squares has neither overflowed, to infinity or NaN, nor lost what counts. By its bits, which order as the numbers do: a
// compiler may assume that there is no infinity and no NaN.
fn is_in_range(mean_square: f32) -> bool {
  let bits = bitcast<u32>(mean_square);
  return bits > bitcast<u32>(1e-30f) && bits < bitcast<u32>(1e36f);
}

// The power of two that brings a magnitude to 1 or more, and below 4: multiplying by it is exact.
fn factor_to_one(magnitude: f32) -> f32 {
  return bitcast<f32>((254u - min(bitcast<u32>(magnitude) >> 23u, 253u)) << 23u);
}
