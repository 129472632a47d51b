/** Keys and values stored as f16. */
import { F16_INFINITY, F16_LIMIT, F16_MASK, F16_UP, f16x4, finite_f16x4, to_f16x4 } from './f16';
import { constant } from './simd';

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
  if (!v128.any_true(i16x8.ge_u(largest, i16x8.splat(<i16>0xf800)))) return;
  for (let at = first; at < out; at += 4) {
    const value = v128.load32_zero(at);
    v128.store32_lane(at, v128.or(value, v128.and(f32x4.ge(f32x4.abs(value), limit), infinity)), 0);
  }
}

/** to [n] f16 = from [n] f32, to nearest even. */
export function narrow_f16(to: usize, from: usize, n: i32): void {
  const end = to + (n << 1);
  for (; to + 16 <= end; to += 16, from += 32) {
    v128.store(to, i16x8.narrow_i32x4_u(to_f16x4(v128.load(from)), to_f16x4(v128.load(from, 16))));
  }
  for (; to < end; to += 2, from += 4) v128.store_lane<i16>(to, to_f16x4(v128.load32_zero(from)), 0);
}
