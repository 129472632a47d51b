/**
 * Keys and values stored as f16. Infinities and NaN are rare, and telling them apart costs as much as all the rest: they are
 * taken for numbers at first. (Subnormal f16, below 6e-5, take Intel's CPUs some 150 cycles a vector.)
 */
import { F16_INFINITY, F16_LIMIT, F16_MASK, F16_UP, to_f16x4 } from './f16';
import { add_across, constant, madd } from './simd';

/** Four of eight f16 as f32 that are 2^112 times too small. */
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

/** The larger f16 of each lane, without their signs and shifted left by one. */
// @ts-ignore: decorator
@inline
function larger(largest: v128, bits: v128): v128 {
  return i16x8.max_u(largest, i16x8.shl(bits, 1));
}

/** Whether an infinity or a NaN went through `larger`. */
// @ts-ignore: decorator
@inline
function is_special(largest: v128): bool {
  return v128.any_true(i16x8.ge_u(largest, i16x8.splat(<i16>0xf800)));
}

/** out [rows, n] = rows of n f16 that are `stride` bytes apart; exact for every pattern. */
export function widen_f16(out: usize, x: usize, rows: i32, stride: usize, n: i32): void {
  const first = out, whole = n & ~7, mask = constant(out, F16_MASK), up = constant(out, F16_UP);
  let largest = i16x8.splat(0);
  for (const last = x + rows * stride; x < last; x += stride) {
    let from = x;
    for (const end = x + (whole << 1); from < end; from += 16, out += 32) {
      const bits = v128.load(from);
      largest = larger(largest, bits);
      v128.store(out, f32x4.mul(low4(bits, mask), up));
      v128.store(out, f32x4.mul(high4(bits, mask), up), 16);
    }
    for (const end = x + (n << 1); from < end; from += 2, out += 4) {
      const bits = v128.load16_splat(from);
      largest = larger(largest, bits);
      v128.store32_lane(out, f32x4.mul(low4(bits, mask), up), 0);
    }
  }
  if (!is_special(largest)) return;
  for (let at = first; at < out; at += 4) {
    const value = v128.load32_zero(at), beyond = f32x4.ge(f32x4.abs(value), i32x4.splat(F16_LIMIT));
    v128.store32_lane(at, v128.or(value, v128.and(beyond, i32x4.splat(F16_INFINITY))), 0);
  }
}

/**
 * out[0..4) = a . b0, ..., a . b3 over n elements, a multiple of 8; a is f32, the b are f16. a comes 2^48 times too large and
 * the sums are multiplied by 2^64: together what the f16 lack. False, and no result, where something is no finite number.
 */
export function dots_1x4_f16(out: usize, a: usize, b0: usize, b1: usize, b2: usize, b3: usize, n: i32): bool {
  const mask = constant(out, F16_MASK);
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, largest = c0;
  for (const end = a + (n << 2); a < end; a += 32, b0 += 16, b1 += 16, b2 += 16, b3 += 16) {
    const x = v128.load(a), y = v128.load(a, 16);
    let b = v128.load(b0);
    largest = larger(largest, b), c0 = madd(y, high4(b, mask), madd(x, low4(b, mask), c0));
    b = v128.load(b1);
    largest = larger(largest, b), c1 = madd(y, high4(b, mask), madd(x, low4(b, mask), c1));
    b = v128.load(b2);
    largest = larger(largest, b), c2 = madd(y, high4(b, mask), madd(x, low4(b, mask), c2));
    b = v128.load(b3);
    largest = larger(largest, b), c3 = madd(y, high4(b, mask), madd(x, low4(b, mask), c3));
  }
  const sums = f32x4.mul(add_across(c0, c1, c2, c3), f32x4.splat(1.8446744073709552e19)); // 2^64
  v128.store(out, sums);
  return !is_special(largest) && !v128.any_true(f32x4.ne(f32x4.sub(sums, sums), f32x4.splat(0)));
}

/**
 * weigh_1 for rows of n f16, n a multiple of 32: a cache line of each row at a time. False, and o anything, where a value is no
 * finite number. space: one number.
 */
export function weigh_1_f16(o: usize, p: usize, end: usize, v: usize, stride: usize, n: i32, space: usize): bool {
  const mask = constant(space, F16_MASK), up = constant(space, F16_UP);
  for (const stop = o + (n << 2); o < stop; o += 128, v += 64) {
    let a0 = v128.load(o), a1 = v128.load(o, 16), a2 = v128.load(o, 32), a3 = v128.load(o, 48);
    let a4 = v128.load(o, 64), a5 = v128.load(o, 80), a6 = v128.load(o, 96), a7 = v128.load(o, 112);
    let largest = i16x8.splat(0), row = v;
    for (let key = p; key < end; key += 4, row += stride) {
      if (load<f32>(key) == 0) continue; // 0 * infinity must not count
      const x = f32x4.mul(v128.load32_splat(key), up); // a weight is at most 1
      let b = v128.load(row);
      largest = larger(largest, b), a0 = madd(x, low4(b, mask), a0), a1 = madd(x, high4(b, mask), a1);
      b = v128.load(row, 16);
      largest = larger(largest, b), a2 = madd(x, low4(b, mask), a2), a3 = madd(x, high4(b, mask), a3);
      b = v128.load(row, 32);
      largest = larger(largest, b), a4 = madd(x, low4(b, mask), a4), a5 = madd(x, high4(b, mask), a5);
      b = v128.load(row, 48);
      largest = larger(largest, b), a6 = madd(x, low4(b, mask), a6), a7 = madd(x, high4(b, mask), a7);
    }
    if (is_special(largest)) return false;
    v128.store(o, a0), v128.store(o, a1, 16), v128.store(o, a2, 32), v128.store(o, a3, 48);
    v128.store(o, a4, 64), v128.store(o, a5, 80), v128.store(o, a6, 96), v128.store(o, a7, 112);
  }
  return true;
}

/** to [n] f16 = from [n] f32, to nearest even. */
export function narrow_f16(to: usize, from: usize, n: i32): void {
  const end = to + (n << 1);
  for (; to + 8 <= end; to += 8, from += 16) {
    const bits = to_f16x4(v128.load(from));
    v128.store64_lane(to, i16x8.narrow_i32x4_u(bits, bits), 0);
  }
  for (; to < end; to += 2, from += 4) v128.store_lane<i16>(to, to_f16x4(v128.load32_zero(from)), 0);
}
