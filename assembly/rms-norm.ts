import { madd, sum_lanes } from './simd';

/** y = x / sqrt(mean(x^2) + eps) * weight. x, y [T, D]; weight [D]. 16 partial sums keep an outlier's rounding out of the rest. */
export function rms_norm(x: usize, weight: usize, y: usize, T: i32, D: i32, eps: f32): void {
  const bytes = D << 2;
  for (let t = 0; t < T; t++, x += bytes, y += bytes) {
    const scale: f32 = 1 / sqrt<f32>(sum_squares(x, D) / <f32>D + eps), factor = f32x4.splat(scale);
    let i = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(x + i), factor), v128.load(weight + i)));
    for (; i < bytes; i += 4) store<f32>(y + i, load<f32>(x + i) * scale * load<f32>(weight + i));
  }
}

/** Sum of the squares of x [n]. */
function sum_squares(x: usize, n: i32): f32 {
  const end = x + (n << 2);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; x + 64 <= end; x += 64) {
    const v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
    s0 = madd(v0, v0, s0), s1 = madd(v1, v1, s1), s2 = madd(v2, v2, s2), s3 = madd(v3, v3, s3);
  }
  for (; x + 16 <= end; x += 16) s0 = madd(v128.load(x), v128.load(x), s0);
  let sum = sum_lanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4) sum += load<f32>(x) * load<f32>(x);
  return sum;
}
