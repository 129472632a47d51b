/** Half-precision storage: there is no f16 in Wasm, so bits are moved about in i32 lanes. Exact for every pattern. */
import { constant } from './simd';
import { RAISED } from './weight-form';

export const F16_MASK: i32 = 0x8fffe000;
/** 2^112 */
export const F16_UP: i32 = 0x77800000;

/** What f16 that were raised (see weight-form.ts) are multiplied by: 2^112 less so much. */
// @ts-ignore: decorator
@inline
export function up_of(form: i32): i32 {
  return F16_UP - ((form >> RAISED) << 23);
}

/** 2^16 */
export const F16_LIMIT: i32 = 0x47800000;
export const F16_INFINITY: i32 = 0x7f800000;

/**
 * Four finite f16, sign-extended to i32, as f32. The sign lands at bit 31; exponent and fraction, 13 bits up, are a number
 * 2^112 times too small, subnormals included. In loops `mask` and `up` come from `constant`.
 */
// @ts-ignore: decorator
@inline
export function finite_f16x4(bits: v128, mask: v128, up: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(bits, 13), mask), up);
}

/** Four f16, sign-extended to i32, as f32; infinities and NaN too. From 2^16 on only they are left. */
// @ts-ignore: decorator
@inline
export function f16x4(bits: v128, mask: v128, up: v128, limit: v128, infinity: v128): v128 {
  const value = finite_f16x4(bits, mask, up);
  return v128.or(value, v128.and(f32x4.ge(f32x4.abs(value), limit), infinity));
}

/** Four f32 as f16 in the low halves, to nearest even; above 65519.99 infinity. After F. Giesen's float_to_half_SSE2. */
// @ts-ignore: decorator
@inline
export function to_f16x4(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const size = v128.xor(x, sign);
  const odd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(size, i32x4.splat(0xc8000fff)), odd), 13);
  // Beside 0.5 a float has steps of 2^-24, as subnormal f16 have: the addition rounds.
  const half = f32x4.splat(0.5);
  const small = i32x4.sub(f32x4.add(size, half), half);
  const isNan = i32x4.gt_s(size, i32x4.splat(0x7f800000));
  const special = v128.or(i32x4.splat(0x7c00), v128.and(isNan, i32x4.splat(0x200)));
  let bits = v128.bitselect(small, normal, i32x4.lt_s(size, i32x4.splat(0x38800000)));
  bits = v128.bitselect(special, bits, i32x4.ge_s(size, i32x4.splat(0x47800000)));
  return v128.or(bits, i32x4.shr_u(sign, 16));
}

/** One lane of a panel [K][8] of f16 from a row of f32. Returns the largest f16 but for its sign; from 0x7c00 on it is not finite. */
export function pack_lane_f16(lane: usize, row: usize, K: usize): i32 {
  let largest = i32x4.splat(0);
  for (const end = row + (K << 2); row < end; row += 4, lane += 16) {
    const bits = to_f16x4(v128.load32_zero(row));
    largest = i32x4.max_s(largest, v128.and(bits, i32x4.splat(0x7fff)));
    v128.store_lane<i16>(lane, bits, 0);
  }
  return i32x4.extract_lane(largest, 0);
}

/** Multiplies the first `count` f16 (a multiple of 4) of each of `blocks` blocks of `bytes` bytes by 2^by; none may grow to 2^16. */
export function raise_f16(block: usize, blocks: usize, bytes: usize, count: usize, by: i32): void {
  const mask = i32x4.splat(F16_MASK), up = i32x4.splat(F16_UP), factor = i32x4.splat((127 + by) << 23);
  for (; blocks; blocks--, block += bytes) {
    for (let at = block, end = at + (count << 1); at < end; at += 8) {
      const bits = to_f16x4(f32x4.mul(finite_f16x4(v128.load16x4_s(at), mask, up), factor));
      // the low half of each lane
      v128.store_lane<i64>(at, v128.shuffle<i16>(bits, bits, 0, 2, 4, 6, 0, 2, 4, 6), 0);
    }
  }
}

/** A panel of f16 as one of f32. */
export function unpack_f16(out: usize, panel: usize, K: usize, raisedUp: i32): usize {
  const start = out;
  const mask = constant(out, F16_MASK), up = constant(out, raisedUp);
  const limit = constant(out, F16_LIMIT), infinity = constant(out, F16_INFINITY);
  for (const end = panel + (K << 4); panel < end; panel += 16, out += 32) {
    v128.store(out, f16x4(v128.load16x4_s(panel), mask, up, limit, infinity));
    v128.store(out, f16x4(v128.load16x4_s(panel, 8), mask, up, limit, infinity), 16);
  }
  return start;
}
