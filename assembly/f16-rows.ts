/** Keys and values stored as f16. */
import { add_across } from './attention-scores';
import { F16_INFINITY, F16_LIMIT, F16_MASK, F16_UP, f16x4, finite_f16x4, to_f16x4 } from './f16';
import { constant, madd } from './simd';
import { weigh_1 } from './weighted-sum';

/**
 * out [rows, n] = rows of n f16 that are `stride` bytes apart; exact for every pattern. Infinities and NaN, which are rare,
 * come out wrong at first and are mended: telling them apart costs as much as all the rest. (Subnormal f16 take Intel's
 * CPUs some 150 cycles a vector. They are below 6e-5.)
 */
export function widen_f16(out: usize, x: usize, rows: i32, stride: usize, n: i32): void {
  const first = out, whole = n & ~7;
  const mask = constant(out, F16_MASK), up = constant(out, F16_UP);
  const limit = constant(out, F16_LIMIT), infinity = constant(out, F16_INFINITY);
  let largest = i16x8.splat(0);
  for (const last = x + rows * stride; x < last; x += stride) {
    let from = x;
    for (const end = x + (whole << 1); from < end; from += 16, out += 32) {
      const bits = v128.load(from);
      largest = i16x8.max_u(largest, i16x8.shl(bits, 1));
      v128.store(out, finite_f16x4(i32x4.extend_low_i16x8_s(bits), mask, up));
      v128.store(out, finite_f16x4(i32x4.extend_high_i16x8_s(bits), mask, up), 16);
    }
    for (const end = x + (n << 1); from < end; from += 2, out += 4) {
      v128.store32_lane(out, f16x4(i32x4.splat(load<i16>(from)), mask, up, limit, infinity), 0);
    }
  }
  if (!any_special(largest)) return;
  for (let at = first; at < out; at += 4) {
    const value = v128.load32_zero(at);
    v128.store32_lane(at, v128.or(value, v128.and(f32x4.ge(f32x4.abs(value), limit), infinity)), 0);
  }
}

/** Whether there is an infinity or NaN: `largest` has, for eight lanes, the largest f16 without its sign, shifted left. */
// @ts-ignore: decorator
@inline
function any_special(largest: v128): bool {
  return v128.any_true(i16x8.ge_u(largest, i16x8.splat(<i16>0xf800)));
}

/** Four f16 of eight as f32 that are 2^112 times too small. */
// @ts-ignore: decorator
@inline
function low4(bits: v128, mask: v128): v128 {
  return v128.and(i32x4.shl(i32x4.extend_low_i16x8_s(bits), 13), mask);
}
// @ts-ignore: decorator
@inline
function high4(bits: v128, mask: v128): v128 {
  return v128.and(i32x4.shl(i32x4.extend_high_i16x8_s(bits), 13), mask);
}

/**
 * out[0..4) = a . b0, ..., a . b3 over n elements, a multiple of 8; a is f32, the b are f16. a comes 2^48 times too large and
 * the sums are multiplied by 2^64: together what the f16 lack. False, and no result, where one is no finite number.
 */
export function dots_1x4_f16(out: usize, a: usize, b0: usize, b1: usize, b2: usize, b3: usize, n: i32): bool {
  const mask = constant(out, F16_MASK);
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, largest = c0;
  for (const end = a + (n << 2); a < end; a += 32, b0 += 16, b1 += 16, b2 += 16, b3 += 16) {
    const x = v128.load(a), y = v128.load(a, 16);
    let b = v128.load(b0);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    c0 = madd(y, high4(b, mask), madd(x, low4(b, mask), c0));
    b = v128.load(b1);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    c1 = madd(y, high4(b, mask), madd(x, low4(b, mask), c1));
    b = v128.load(b2);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    c2 = madd(y, high4(b, mask), madd(x, low4(b, mask), c2));
    b = v128.load(b3);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    c3 = madd(y, high4(b, mask), madd(x, low4(b, mask), c3));
  }
  const sums = f32x4.mul(add_across(c0, c1, c2, c3), f32x4.splat(1.8446744073709552e19)); // 2^64
  v128.store(out, sums);
  return !any_special(largest) && !v128.any_true(f32x4.ne(f32x4.sub(sums, sums), f32x4.splat(0)));
}

/** 16 columns of weigh_1_f16, or 32: a cache line. False, and o as it was, where a value is no finite number. */
// @ts-ignore: decorator
@inline
function columns(o: usize, p: usize, end: usize, v: usize, stride: usize, space: usize, wide: bool): bool {
  const mask = constant(space, F16_MASK), up = constant(space, F16_UP);
  let a0 = v128.load(o), a1 = v128.load(o, 16), a2 = v128.load(o, 32), a3 = v128.load(o, 48);
  let a4 = a0, a5 = a0, a6 = a0, a7 = a0, largest = i16x8.splat(0);
  if (wide) a4 = v128.load(o, 64), a5 = v128.load(o, 80), a6 = v128.load(o, 96), a7 = v128.load(o, 112);
  for (; p < end; p += 4, v += stride) {
    if (load<f32>(p) == 0) continue; // 0 * infinity must not count
    const x = f32x4.mul(v128.load32_splat(p), up); // a weight is at most 1
    let b = v128.load(v);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    a0 = madd(x, low4(b, mask), a0), a1 = madd(x, high4(b, mask), a1);
    b = v128.load(v, 16);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    a2 = madd(x, low4(b, mask), a2), a3 = madd(x, high4(b, mask), a3);
    if (!wide) continue;
    b = v128.load(v, 32);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    a4 = madd(x, low4(b, mask), a4), a5 = madd(x, high4(b, mask), a5);
    b = v128.load(v, 48);
    largest = i16x8.max_u(largest, i16x8.shl(b, 1));
    a6 = madd(x, low4(b, mask), a6), a7 = madd(x, high4(b, mask), a7);
  }
  if (any_special(largest)) return false;
  v128.store(o, a0), v128.store(o, a1, 16), v128.store(o, a2, 32), v128.store(o, a3, 48);
  if (wide) v128.store(o, a4, 64), v128.store(o, a5, 80), v128.store(o, a6, 96), v128.store(o, a7, 112);
  return true;
}

/** The n columns in any case, by way of widened rows at `space`: n numbers. */
function widened_columns(o: usize, p: usize, end: usize, v: usize, stride: usize, space: usize, n: i32): void {
  for (; p < end; p += 4, v += stride) {
    widen_f16(space, v, 1, stride, n);
    weigh_1(o, p, p + 4, space, 0, n);
  }
}

/** weigh_1 for rows of n f16, n a multiple of 16. space: 32 numbers. */
export function weigh_1_f16(o: usize, p: usize, end: usize, v: usize, stride: usize, n: i32, space: usize): void {
  const stop = o + (n << 2);
  for (; o + 128 <= stop; o += 128, v += 64) {
    if (!columns(o, p, end, v, stride, space, true)) widened_columns(o, p, end, v, stride, space, 32);
  }
  if (o < stop && !columns(o, p, end, v, stride, space, false)) widened_columns(o, p, end, v, stride, space, 16);
}

/** to [n] f16 = from [n] f32, to nearest even. */
export function narrow_f16(to: usize, from: usize, n: i32): void {
  const end = to + (n << 1);
  for (; to + 16 <= end; to += 16, from += 32) {
    v128.store(to, i16x8.narrow_i32x4_u(to_f16x4(v128.load(from)), to_f16x4(v128.load(from, 16))));
  }
  for (; to < end; to += 2, from += 4) v128.store_lane<i16>(to, to_f16x4(v128.load32_zero(from)), 0);
}
