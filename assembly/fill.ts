/** y[0..n) = value. */
export function fill_f32(y: usize, n: usize, value: f32): void {
  const end = y + (n << 2);
  const all = f32x4.splat(value);
  for (; y + 16 <= end; y += 16) v128.store(y, all);
  for (; y < end; y += 4) store<f32>(y, value);
}

/** 1 in the binary that uses relaxed SIMD, else 0. */
export function uses_relaxed_simd(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 1 : 0;
}
