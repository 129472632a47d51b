import { BLOCK, softmax } from './attention-scores';
import { normalize_row } from './norm';
import { madd, sum_lanes, vector_bytes } from './simd';
import { add_row, weigh_1 } from './weighted-sum';

/** Bytes of scratch for summary: a weight to each token, and a row. */
export function summary_scratch_bytes(n: i32, D: i32): f64 {
  return vector_bytes<f64>(n) + vector_bytes<f64>(D);
}

/**
 * y = sum of softmax(scoreWeight . LayerNorm(token) + scoreBias) * token; zeros without tokens.
 * tokens [n, D]; normWeight, normBias (or 0), scoreWeight, y [D].
 */
export function summary(
  tokens: usize, normWeight: usize, normBias: usize, scoreWeight: usize, y: usize, n: i32, D: i32, eps: f32, scoreBias: f32, scratch: usize,
): void {
  const bytes = D << 2, part = scratch + vector_bytes(n);
  for (let t = 0; t < n; t++) {
    normalize_row(part, 4, tokens + t * bytes, D, 1, eps, normWeight, normBias);
    store<f32>(scratch + (t << 2), scoreBias + dot(part, scoreWeight, D));
  }
  softmax(scratch, n);
  memory.fill(y, 0, bytes);
  for (let t = 0; t < n; t += BLOCK) {
    memory.fill(part, 0, bytes);
    weigh_1(part, scratch + (t << 2), scratch + (min(t + BLOCK, n) << 2), tokens + t * bytes, bytes, D);
    add_row(y, part, D);
  }
}

/** x . w; x, w [n]. */
function dot(x: usize, w: usize, n: i32): f32 {
  const end = x + (n << 2);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; x + 64 <= end; x += 64, w += 64) {
    s0 = madd(v128.load(x), v128.load(w), s0), s1 = madd(v128.load(x, 16), v128.load(w, 16), s1);
    s2 = madd(v128.load(x, 32), v128.load(w, 32), s2), s3 = madd(v128.load(x, 48), v128.load(w, 48), s3);
  }
  let sum = sum_lanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4, w += 4) sum += load<f32>(x) * load<f32>(w);
  return sum;
}
