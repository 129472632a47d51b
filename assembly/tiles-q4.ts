/** 4-bit weights: a row by four panels of nibbles, limited by memory; and panels unpacked for tiles of several rows. */
import { F16_INFINITY, F16_LIMIT, F16_MASK, f16x4, finite_f16x4 } from './f16';
import { constant, madd } from './simd';
import { clear_rows, dot } from './tiles-i8';
import { nibble_bytes, Q4, STEP } from './weight-form';

/** The codes of one step of 8 lanes, still two to a byte. */
// @ts-ignore: decorator
@inline
function nibbles(b: usize): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v128.load(b) : v128.load8x8_u(b);
}

/** Lanes 0-3: the low nibble of each byte (of each i16, whose upper byte is 0, without the relaxed dot product). */
// @ts-ignore: decorator
@inline
function low(w: v128, mask: v128): v128 {
  return v128.and(w, mask);
}

/** Lanes 4-7. */
// @ts-ignore: decorator
@inline
function high(w: v128, mask: v128): v128 {
  const up = i16x8.shr_u(w, 4);
  return ASC_FEATURE_RELAXED_SIMD ? v128.and(up, mask) : up;
}

/** What the sums of a block start from: `head` is -16 * (sum of codes of A), each lane has a zero of its own at `zeros`. */
// @ts-ignore: decorator
@inline
function times_zero(head: v128, zeros: usize): v128 {
  return i32x4.shr_s(i32x4.mul(head, i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_u(v128.load32_zero(zeros)))), 4);
}

/** c[0..8) += sums * x * (the 8 f16 scales at w). */
// @ts-ignore: decorator
@inline
function fold8(c: usize, s0: v128, s1: v128, x: v128, w: usize, mask: v128, up: v128): void {
  const w0 = f32x4.mul(x, finite_f16x4(v128.load16x4_s(w), mask, up)), w1 = f32x4.mul(x, finite_f16x4(v128.load16x4_s(w, 8), mask, up));
  v128.store(c, madd(f32x4.convert_i32x4_s(s0), w0, v128.load(c)));
  v128.store(c, madd(f32x4.convert_i32x4_s(s1), w1, v128.load(c, 16)), 16);
}

/** One row by four panels of nibbles. */
export function tile_1x32_q4(c: usize, a: usize, b: usize, panel: usize, blocks: usize, form: i32, up: i32): void {
  const mask = constant(c, ASC_FEATURE_RELAXED_SIMD ? 0x0f0f0f0f : 0x000f000f);
  const scaleMask = constant(c, F16_MASK), scaleUp = constant(c, up);
  clear_rows(c, 4);
  const block = nibble_bytes(form), codes = block - 128;
  for (; blocks; blocks--, b += block) {
    const x0 = v128.load32_splat(a), sum = v128.load32_splat(a, 16);
    const s1 = b + panel, s2 = s1 + panel, s3 = s2 + panel;
    let c0 = sum, c1 = sum, c2 = sum, c3 = sum, c4 = sum, c5 = sum, c6 = sum, c7 = sum;
    if (form != Q4) {
      c0 = times_zero(sum, b + 16);
      c1 = times_zero(sum, b + 20);
      c2 = times_zero(sum, s1 + 16);
      c3 = times_zero(sum, s1 + 20);
      c4 = times_zero(sum, s2 + 16);
      c5 = times_zero(sum, s2 + 20);
      c6 = times_zero(sum, s3 + 16);
      c7 = times_zero(sum, s3 + 20);
    }
    a += 32;
    let p0 = b + codes, p1 = s1 + codes, p2 = s2 + codes, p3 = s3 + codes;
    const end = p0 + 128;
    while (p0 < end) {
      const x = v128.load32_splat(a);
      let w = nibbles(p0);
      c0 = dot(x, low(w, mask), c0);
      c1 = dot(x, high(w, mask), c1);
      w = nibbles(p1);
      c2 = dot(x, low(w, mask), c2);
      c3 = dot(x, high(w, mask), c3);
      w = nibbles(p2);
      c4 = dot(x, low(w, mask), c4);
      c5 = dot(x, high(w, mask), c5);
      w = nibbles(p3);
      c6 = dot(x, low(w, mask), c6);
      c7 = dot(x, high(w, mask), c7);
      a += 16;
      p0 += STEP << 2;
      p1 += STEP << 2;
      p2 += STEP << 2;
      p3 += STEP << 2;
    }
    fold8(c, c0, c1, x0, b, scaleMask, scaleUp);
    fold8(c + 32, c2, c3, x0, s1, scaleMask, scaleUp);
    fold8(c + 64, c4, c5, x0, s2, scaleMask, scaleUp);
    fold8(c + 96, c6, c7, x0, s3, scaleMask, scaleUp);
  }
}

/** A panel of nibbles as one of bytes; with zeros of their own codes become code - zero + 16, so that one zero fits all. */
export function unpack_q4(out: usize, panel: usize, blocks: usize, form: i32, raisedUp: i32): usize {
  const start = out;
  const mask = constant(out, 0x0f0f0f0f), scaleMask = constant(out, F16_MASK), up = constant(out, raisedUp);
  const limit = constant(out, F16_LIMIT), infinity = constant(out, F16_INFINITY);
  for (; blocks; blocks--) {
    v128.store(out, f16x4(v128.load16x4_s(panel), scaleMask, up, limit, infinity));
    v128.store(out, f16x4(v128.load16x4_s(panel, 8), scaleMask, up, limit, infinity), 16);
    out += 32;
    panel += 16;
    let add0 = i8x16.splat(0), add1 = add0;
    if (form != Q4) {
      const shift = i8x16.sub(i8x16.splat(16), v128.load64_zero(panel));
      if (ASC_FEATURE_RELAXED_SIMD) {
        add0 = v128.shuffle<i8>(shift, shift, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        add1 = v128.shuffle<i8>(shift, shift, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
      } else {
        add0 = v128.shuffle<i8>(shift, shift, 0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3);
        add1 = v128.shuffle<i8>(shift, shift, 4, 4, 5, 5, 6, 6, 7, 7, 4, 4, 5, 5, 6, 6, 7, 7);
      }
      panel += 8;
    }
    for (const end = panel + 128; panel < end; panel += 16, out += 32) {
      const w = v128.load(panel);
      const w0 = i8x16.add(v128.and(w, mask), add0);
      const w1 = i8x16.add(v128.and(i16x8.shr_u(w, 4), mask), add1);
      if (ASC_FEATURE_RELAXED_SIMD) {
        v128.store(out, w0);
        v128.store(out, w1, 16);
      } else {
        v128.store(out, v128.shuffle<i64>(w0, w1, 0, 2));
        v128.store(out, v128.shuffle<i64>(w0, w1, 1, 3), 16);
      }
    }
  }
  return start;
}
