import { BLOCK, softmax } from './attention-scores';
import { inverse_deviation, row_mean } from './layer-norm';
import { madd, sum_lanes } from './simd';
import { add_row, weigh_1 } from './weighted-sum';

/**
 * y = sum of softmax(scoreWeight . LayerNorm(token) + scoreBias) * token; zeros without tokens.
 * tokens [n, D]; normWeight, normBias (or 0), scoreWeight, y [D]. scratch: n and D, each rounded up to a multiple of four.
 */
export function summary(
  tokens: usize, normWeight: usize, normBias: usize, scoreWeight: usize, y: usize, n: i32, D: i32, eps: f32, scoreBias: f32, scratch: usize,
): void {
  const bytes = D << 2, part = scratch + (((n + 3) & ~3) << 2);
  for (let t = 0; t < n; t++) {
    store<f32>(scratch + (t << 2), scoreBias + score(tokens + t * bytes, normWeight, normBias, scoreWeight, D, eps));
  }
  softmax(scratch, n);
  memory.fill(y, 0, bytes);
  for (let t = 0; t < n; t += BLOCK) {
    memory.fill(part, 0, bytes);
    weigh_1(part, scratch + (t << 2), scratch + (min(t + BLOCK, n) << 2), tokens + t * bytes, bytes, D);
    add_row(y, part, D);
  }
}

/** scoreWeight . LayerNorm(x); x [n]. */
function score(x: usize, weight: usize, bias: usize, scoreWeight: usize, n: i32, eps: f32): f32 {
  const mean = row_mean(x, n), scale = inverse_deviation(x, n, mean, eps);
  const means = f32x4.splat(mean), scales = f32x4.splat(scale), bytes = n << 2;
  let s0 = f32x4.splat(0), s1 = s0, i = 0;
  for (; i + 16 <= bytes; i += 16) {
    let normed = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x + i), means), scales), v128.load(weight + i));
    if (bias) normed = f32x4.add(normed, v128.load(bias + i));
    const sum = madd(normed, v128.load(scoreWeight + i), s0);
    s0 = s1, s1 = sum; // two partial sums that take turns
  }
  let sum = sum_lanes(f32x4.add(s0, s1));
  for (; i < bytes; i += 4) {
    let normed = (load<f32>(x + i) - mean) * scale * load<f32>(weight + i);
    if (bias) normed += load<f32>(bias + i);
    sum += normed * load<f32>(scoreWeight + i);
  }
  return sum;
}
