import { madd, sum_lanes } from './simd';

/** y = (x - mean) / sqrt(var + eps) * weight + bias. x, y [T, D]; weight, bias (or 0) [D]. */
export function layer_norm(x: usize, weight: usize, bias: usize, y: usize, T: i32, D: i32, eps: f32): void {
  const bytes = D << 2;
  for (let t = 0; t < T; t++, x += bytes, y += bytes) {
    const mean = row_mean(x, D), scale = inverse_deviation(x, D, mean, eps);
    const means = f32x4.splat(mean), scales = f32x4.splat(scale);
    let i = 0;
    for (; i + 16 <= bytes; i += 16) {
      const normed = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x + i), means), scales), v128.load(weight + i));
      v128.store(y + i, bias ? f32x4.add(normed, v128.load(bias + i)) : normed);
    }
    for (; i < bytes; i += 4) {
      const normed = (load<f32>(x + i) - mean) * scale * load<f32>(weight + i);
      store<f32>(y + i, bias ? normed + load<f32>(bias + i) : normed);
    }
  }
}

/** Mean of x [n]; 16 partial sums. */
export function row_mean(x: usize, n: i32): f32 {
  const end = x + (n << 2);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; x + 64 <= end; x += 64) {
    s0 = f32x4.add(s0, v128.load(x)), s1 = f32x4.add(s1, v128.load(x, 16));
    s2 = f32x4.add(s2, v128.load(x, 32)), s3 = f32x4.add(s3, v128.load(x, 48));
  }
  for (; x + 16 <= end; x += 16) s0 = f32x4.add(s0, v128.load(x));
  let sum = sum_lanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4) sum += load<f32>(x);
  return sum / <f32>n;
}

/** 1 / sqrt(var + eps) of x [n], from centred squares: E[x^2] - E[x]^2 would cancel where the mean is large. */
export function inverse_deviation(x: usize, n: i32, mean: f32, eps: f32): f32 {
  const end = x + (n << 2), means = f32x4.splat(mean);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; x + 64 <= end; x += 64) {
    const v0 = f32x4.sub(v128.load(x), means), v1 = f32x4.sub(v128.load(x, 16), means);
    const v2 = f32x4.sub(v128.load(x, 32), means), v3 = f32x4.sub(v128.load(x, 48), means);
    s0 = madd(v0, v0, s0), s1 = madd(v1, v1, s1), s2 = madd(v2, v2, s2), s3 = madd(v3, v3, s3);
  }
  for (; x + 16 <= end; x += 16) {
    const v = f32x4.sub(v128.load(x), means);
    s0 = madd(v, v, s0);
  }
  let sum = sum_lanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4) sum += (load<f32>(x) - mean) * (load<f32>(x) - mean);
  return 1 / sqrt<f32>(sum / <f32>n + eps);
}
