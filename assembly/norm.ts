/** RMSNorm and LayerNorm, for the ops of these names and for rows on their way into packed A. */
import { madd, scatter_lanes, sum_lanes } from './simd';

/** A mean of squares from here on has lost nothing to squares that are too small for f32. */
const LEAST: f32 = 7.8886090522101181e-31; // 2^-100

/**
 * (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias, with `scattered` into every `step`-th byte of out; without `layer`
 * mean and bias are 0 (RMSNorm). x, weight, bias (or 0) [n]. Right for every row of finite numbers.
 */
// @ts-ignore: decorator
@inline
function normalize(
  out: usize, step: usize, x: usize, n: i32, eps: f32, weight: usize, bias: usize, layer: bool, scattered: bool,
): void {
  const mean: f32 = layer ? row_mean(x, n) : 0, square = mean_square(x, n, mean, layer) + eps;
  if (square >= LEAST && square < Infinity) scale_row(out, step, x, n, mean, 1 / sqrt<f32>(square), weight, bias, layer, scattered);
  else normalize_extreme(out, step, x, n, layer, eps, weight, bias);
}

/** One row, into every `step`-th byte of out: 4, or more on its way into packed A. */
export function normalize_row(out: usize, step: usize, x: usize, n: i32, layer: i32, eps: f32, weight: usize, bias: usize): void {
  if (step == 4) {
    if (layer) normalize(out, 4, x, n, eps, weight, bias, true, false);
    else normalize(out, 4, x, n, eps, weight, 0, false, false);
  } else if (layer) normalize(out, step, x, n, eps, weight, bias, true, true);
  else normalize(out, step, x, n, eps, weight, 0, false, true);
}

/** Row by row. x, y [T, D]; weight, bias (or 0) [D]. */
export function normalize_rows(x: usize, y: usize, T: i32, D: i32, layer: i32, eps: f32, weight: usize, bias: usize): void {
  for (let t = 0; t < T; t++, x += D << 2, y += D << 2) normalize_row(y, 4, x, D, layer, eps, weight, bias);
}

// @ts-ignore: decorator
@inline
function scale_row(
  out: usize, step: usize, x: usize, n: i32, mean: f32, scale: f32, weight: usize, bias: usize, layer: bool, scattered: bool,
): void {
  const means = f32x4.splat(mean), scales = f32x4.splat(scale), end = x + (n << 2);
  for (; x + 32 <= end; x += 32, weight += 32) {
    let a = scaled(v128.load(x), v128.load(weight), means, scales, layer), b = scaled(v128.load(x, 16), v128.load(weight, 16), means, scales, layer);
    if (layer && bias) a = f32x4.add(a, v128.load(bias)), b = f32x4.add(b, v128.load(bias, 16)), bias += 32;
    if (scattered) out = scatter_lanes(scatter_lanes(out, step, a), step, b);
    else v128.store(out, a), v128.store(out, b, 16), out += 32;
  }
  for (; x < end; x += 4, weight += 4, out += step) {
    let v = (load<f32>(x) - mean) * scale * load<f32>(weight);
    if (layer && bias) v += load<f32>(bias), bias += 4;
    store<f32>(out, v);
  }
}

// @ts-ignore: decorator
@inline
function scaled(x: v128, weight: v128, means: v128, scales: v128, layer: bool): v128 {
  return f32x4.mul(f32x4.mul(layer ? f32x4.sub(x, means) : x, scales), weight);
}

/** Mean of x [n]; 16 partial sums keep an outlier's rounding out of the rest. */
function row_mean(x: usize, n: i32): f32 {
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

/** Mean of (x - mean)^2; x [n]. Centred, as E[x^2] - E[x]^2 would cancel where the mean is large. */
// @ts-ignore: decorator
@inline
function mean_square(x: usize, n: i32, mean: f32, centred: bool): f32 {
  const end = x + (n << 2), means = f32x4.splat(mean);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; x + 64 <= end; x += 64) {
    let v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
    if (centred) v0 = f32x4.sub(v0, means), v1 = f32x4.sub(v1, means), v2 = f32x4.sub(v2, means), v3 = f32x4.sub(v3, means);
    s0 = madd(v0, v0, s0), s1 = madd(v1, v1, s1), s2 = madd(v2, v2, s2), s3 = madd(v3, v3, s3);
  }
  for (; x + 16 <= end; x += 16) {
    let v = v128.load(x);
    if (centred) v = f32x4.sub(v, means);
    s0 = madd(v, v, s0);
  }
  let sum = sum_lanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4) sum += (load<f32>(x) - mean) * (load<f32>(x) - mean);
  return sum / <f32>n;
}

/** The same where squares leave f32, or numbers are none: in f64, one by one. */
function normalize_extreme(out: usize, step: usize, x: usize, n: i32, layer: bool, eps: f32, weight: usize, bias: usize): void {
  const end = x + (n << 2);
  let mean: f64 = 0, squares: f64 = 0;
  for (let at = x; layer && at < end; at += 4) mean += load<f32>(at);
  mean /= n;
  for (let at = x; at < end; at += 4) squares += (load<f32>(at) - mean) * (load<f32>(at) - mean);
  const scale = 1 / sqrt<f64>(squares / n + eps);
  for (; x < end; x += 4, out += step, weight += 4) {
    let v = (load<f32>(x) - mean) * scale * load<f32>(weight);
    if (bias) v += load<f32>(bias), bias += 4;
    store<f32>(out, <f32>v);
  }
}
