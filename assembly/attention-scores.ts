import { widen_f16 } from './f16-rows';
import { add_across, BIAS, madd, sum_lanes, vector_bytes } from './simd';
import { add_row } from './weighted-sum';

/** Numbers per partial sum of a long sum, so that its error grows with their count and not with the length. */
export const BLOCK: i32 = 128;

/**
 * out0[0..4) = a0 . b0, ..., a0 . b3 and, for `both`, out1 the same for a1, over n elements. Every dot is summed in the same order
 * (four lanes, then (l0 + l2) + (l1 + l3), then the tail) whatever else is in the tile.
 */
// @ts-ignore: decorator
@inline
export function dots(
  a0: usize, a1: usize, b0: usize, b1: usize, b2: usize, b3: usize, n: i32, out0: usize, out1: usize, both: bool,
): void {
  let c00 = f32x4.splat(0), c01 = c00, c02 = c00, c03 = c00, c10 = c00, c11 = c00, c12 = c00, c13 = c00;
  const bytes = n << 2, whole = bytes & ~15;
  for (let i = 0; i < whole; i += 16) {
    const x = v128.load(a0 + i), y = both ? v128.load(a1 + i) : x;
    let b = v128.load(b0 + i);
    c00 = madd(x, b, c00);
    if (both) c10 = madd(y, b, c10);
    b = v128.load(b1 + i);
    c01 = madd(x, b, c01);
    if (both) c11 = madd(y, b, c11);
    b = v128.load(b2 + i);
    c02 = madd(x, b, c02);
    if (both) c12 = madd(y, b, c12);
    b = v128.load(b3 + i);
    c03 = madd(x, b, c03);
    if (both) c13 = madd(y, b, c13);
  }
  let r0 = add_across(c00, c01, c02, c03), r1 = both ? add_across(c10, c11, c12, c13) : r0;
  for (let i = whole; i < bytes; i += 4) {
    let b = f32x4.splat(load<f32>(b0 + i));
    b = f32x4.replace_lane(b, 1, load<f32>(b1 + i));
    b = f32x4.replace_lane(b, 2, load<f32>(b2 + i));
    b = f32x4.replace_lane(b, 3, load<f32>(b3 + i));
    r0 = madd(v128.load32_splat(a0 + i), b, r0);
    if (both) r1 = madd(v128.load32_splat(a1 + i), b, r1);
  }
  v128.store(out0, r0);
  if (both) v128.store(out1, r1);
}

/** out = scale * x; x, out [n]. */
export function scale_query(out: usize, x: usize, n: i32, scale: f32): void {
  const end = x + (n << 2), factor = f32x4.splat(scale);
  for (; x + 16 <= end; x += 16, out += 16) v128.store(out, f32x4.mul(v128.load(x), factor));
  for (; x < end; x += 4, out += 4) store<f32>(out, load<f32>(x) * scale);
}

/** For exp_down, four lanes each, in the order of their use: range, rounding, log2 e, polynomial of 2^f. */
const EXP_DOWN: usize = memory.data<f32>([
  -87, -87, -87, -87, 12582912, 12582912, 12582912, 12582912, 1.44269504, 1.44269504, 1.44269504, 1.44269504,
  0.0013264727, 0.0013264727, 0.0013264727, 0.0013264727, 0.009671513, 0.009671513, 0.009671513, 0.009671513,
  0.055507336, 0.055507336, 0.055507336, 0.055507336, 0.24022242, 0.24022242, 0.24022242, 0.24022242,
  0.693147, 0.693147, 0.693147, 0.693147, 1, 1, 1, 1,
], 16);

/**
 * exp of a number that is not positive, relative error < 2e-7 + 6e-8 |x|; 0 below -87 and for -infinity, NaN for NaN. Two
 * thirds of the cost of exp4 in simd.ts: what large |x| lose by the short reduction is lost in the sum of a softmax anyway.
 */
// @ts-ignore: decorator
@inline
function exp_down(x: v128): v128 {
  const least = v128.load(EXP_DOWN), magic = v128.load(EXP_DOWN, 16), log2e = v128.load(EXP_DOWN, 32);
  const clamped = f32x4.pmax(x, least); // NaN stays: pmax returns its first operand then
  const shifted = madd(clamped, log2e, magic); // 1.5 * 2^23 rounds to an integer, which then stands in the low bits
  const f = madd(clamped, log2e, f32x4.sub(magic, shifted));
  let p = madd(v128.load(EXP_DOWN, 48), f, v128.load(EXP_DOWN, 64)); // 2^f on [-1/2, 1/2]: minimax, 1 at 0, error < 1e-7
  p = madd(p, f, v128.load(EXP_DOWN, 80));
  p = madd(p, f, v128.load(EXP_DOWN, 96));
  p = madd(p, f, v128.load(EXP_DOWN, 112));
  p = madd(p, f, v128.load(EXP_DOWN, 128));
  const power = i32x4.shl(i32x4.add(shifted, v128.load(BIAS)), 23);
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, least));
}

/**
 * Softmax in place of row [n], which has room up to the next multiple of four; -infinity marks invisible keys and gives 0.
 * Returns how many of the entries, padding included, became 0. A NaN or +infinity makes all of them NaN.
 */
export function softmax(row: usize, n: i32): i32 {
  const end = row + (((n + 3) & ~3) << 2);
  for (let tail = row + (n << 2); tail < end; tail += 4) store<f32>(tail, -Infinity);
  let peaks = f32x4.splat(-Infinity), peaks1 = peaks, x = row;
  for (; x + 32 <= end; x += 32) { // passes over NaN: exp brings it back
    peaks = f32x4.pmax(peaks, v128.load(x)), peaks1 = f32x4.pmax(peaks1, v128.load(x, 16));
  }
  if (x < end) peaks = f32x4.pmax(peaks, v128.load(x));
  peaks = f32x4.pmax(peaks, peaks1);
  peaks = f32x4.pmax(peaks, v128.shuffle<f32>(peaks, peaks, 2, 3, 0, 1));
  peaks = f32x4.pmax(peaks, v128.shuffle<f32>(peaks, peaks, 1, 0, 3, 2));
  let total = f32x4.splat(0);
  for (x = row; x < end; ) {
    const stop = min(end, x + (BLOCK << 2));
    let sum = f32x4.splat(0);
    for (; x < stop; x += 16) {
      const e = exp_down(f32x4.sub(v128.load(x), peaks));
      v128.store(x, e);
      sum = f32x4.add(sum, e);
    }
    total = f32x4.add(total, sum);
  }
  const inverse = f32x4.splat(1 / sum_lanes(total));
  let zeros = i32x4.splat(0);
  for (x = row; x < end; x += 16) {
    const p = f32x4.mul(v128.load(x), inverse);
    v128.store(x, p);
    zeros = i32x4.sub(zeros, f32x4.eq(p, f32x4.splat(0)));
  }
  zeros = i32x4.add(zeros, v128.shuffle<i32>(zeros, zeros, 2, 3, 0, 1));
  return i32x4.extract_lane(zeros, 0) + i32x4.extract_lane(zeros, 1);
}

/** Of a hidden range: start, end, from. */
export const RANGE: i32 = 12;

/** End of a hidden range around key s for a query at `position`, 0 if there is none. ranges [count] of (start, end, from). */
export function hidden_until(s: u32, position: u32, ranges: usize, count: i32): i32 {
  for (const end = ranges + count * RANGE; ranges < end; ranges += RANGE) {
    if (load<u32>(ranges) <= s && s < load<u32>(ranges, 4) && position >= load<u32>(ranges, 8)) return load<u32>(ranges, 4);
  }
  return 0;
}

/**
 * Softmax of the logits of a query. Where it is NaN, in all of its entries, as some logit left f32 on the way or is no number, once
 * more, of logits in f64 less the largest of them; those of hidden keys are -infinity. q [dh], not scaled yet; panel: a key's room,
 * with `half`. Returns what `softmax` does.
 */
export function softmax_of_query(
  row: usize, n: i32, q: usize, k: usize, stride: i32, dh: i32, scale: f32, bias: usize, half: i32,
  position: u32, ranges: usize, count: i32, panel: usize,
): i32 {
  const zeros = softmax(row, n);
  if (load<f32>(row) == load<f32>(row)) return zeros;
  let peak: f64 = -Infinity;
  for (let pass = 0; pass < 2; pass++) {
    for (let s = 0; s < n; s++) {
      let key = k + s * stride, logit: f64 = 0;
      if (hidden_until(s, position, ranges, count)) logit = -Infinity;
      else {
        if (half) widen_f16(panel, key, 1, stride, dh), key = panel;
        for (let c = 0; c < dh << 2; c += 4) logit += <f64>load<f32>(q + c) * <f64>load<f32>(key + c);
        logit = logit * scale + (bias ? load<f32>(bias + (s << 2)) : 0);
      }
      if (pass) store<f32>(row + (s << 2), <f32>(logit - peak));
      else if (!(logit <= peak)) peak = logit;
    }
  }
  return softmax(row, n);
}

/** How many of the ascending positions [n] are below `limit`. */
export function count_below(positions: usize, n: i32, limit: u64): i32 {
  let low = 0, high = n;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (<u64>load<u32>(positions + (middle << 2)) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Bytes of scratch for attention_scores: logits of two heads, their queries, and four keys that are widened. */
export function attention_scores_scratch_bytes(S: i32, dh: i32, half: i32): f64 {
  return 2 * vector_bytes<f64>(S) + 4 * (half ? 6 * <f64>dh + 1 : 2 * <f64>dh); // widening needs a number also for keys of none
}

/**
 * scores [S] = sum over the heads of softmax(scale * q . k + bias) for one query at qPosition, divided by `divisor`.
 * q [H, dh]; k [S, Hkv, dh], with `half` f16; positions, bias (or 0) [S].
 */
export function attention_scores(
  scores: usize, q: usize, k: usize, positions: usize, bias: usize, S: i32, H: i32, Hkv: i32, dh: i32,
  qPosition: u32, causal: i32, scale: f32, divisor: f32, half: i32, scratch: usize,
): void {
  const visible = causal ? count_below(positions, S, <u64>qPosition + 1) : S, group = H / Hkv;
  const bytes = dh << 2, width = half ? dh << 1 : bytes, stride = width * Hkv, step = half ? bytes : stride;
  const pitch = vector_bytes(S), row0 = scratch, row1 = row0 + pitch, q0 = row1 + pitch, q1 = q0 + bytes, panel = q1 + bytes;
  memory.fill(scores, 0, S << 2);
  for (let h = 0; h < H; ) {
    const keys = k + (h / group) * width, paired = h % group + 1 < group; // paired: the next head has the same keys
    scale_query(q0, q + h * bytes, dh, scale);
    scale_query(q1, q + (paired ? h + 1 : h) * bytes, dh, scale);
    for (let s = 0; s < visible; s += 4) {
      const last = min(3, visible - 1 - s);
      let b0 = keys + s * stride;
      if (half) widen_f16(panel, b0, last + 1, stride, dh), b0 = panel;
      const b1 = b0 + min(1, last) * step, b2 = b0 + min(2, last) * step, b3 = b0 + last * step;
      dots(q0, q1, b0, b1, b2, b3, dh, row0 + (s << 2), row1 + (s << 2), true);
    }
    for (let row = row0, end = h + (paired ? 2 : 1); h < end; h++, row += pitch) {
      if (bias) add_row(row, bias, visible);
      softmax_of_query(row, visible, q + h * bytes, keys, stride, dh, scale, bias, half, 0, 0, 0, panel);
      add_row(scores, row, visible);
    }
  }
  for (let s = 0; s < visible; s++) store<f32>(scores + (s << 2), load<f32>(scores + (s << 2)) / divisor);
}
