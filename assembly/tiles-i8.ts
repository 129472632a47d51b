/**
 * The integer tiles: codes of packed A times codes of W, summed exactly in i32 over a block of columns, then folded into
 * the f32 sums in `c` by one multiply-add with scale(a) * scale(w). The chain of folds runs over ascending blocks in
 * every tile, so a row's bits do not depend on how many rows run with it. The f32 sums stay in memory: registers hold
 * one block's i32 only. |sum of a block| < 2^31 up to 130 000 columns. Layouts: weight-form.ts.
 */
import { madd } from './simd';
import { SEEN, STEP_BYTES } from './weight-form';

/** c + the products of 4 (2) columns of one row and four lanes. The second operand holds codes of 0..127. */
// @ts-ignore: decorator
@inline
export function dot(x: v128, w: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, c);
  else return i32x4.add(c, i32x4.dot_i16x8_s(x, w));
}

// @ts-ignore: decorator
@inline
function lanes0(b: usize): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v128.load(b) : v128.load8x8_s(b);
}

// @ts-ignore: decorator
@inline
function lanes4(b: usize): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v128.load(b, 16) : v128.load8x8_s(b, 8);
}

/** 1.5 * 2^23: an integer below 2^22 that starts from its bits is the low part of a float. */
const MAGIC: usize = memory.data<i32>([0x4b400000, 0x4b400000, 0x4b400000, 0x4b400000], 16);

/** What the sums of a row start from. */
// @ts-ignore: decorator
@inline
function start(sum: v128, small: bool): v128 {
  return small ? i32x4.add(sum, v128.load(MAGIC)) : sum;
}

/** Sums as floats. Small ones by a subtraction: a conversion takes its turn among the dot products, of which two start in a cycle. */
// @ts-ignore: decorator
@inline
function floats(sums: v128, small: bool): v128 {
  return small ? f32x4.sub(sums, v128.load(MAGIC)) : f32x4.convert_i32x4_s(sums);
}

/** c[0..4) += sums * scale. */
// @ts-ignore: decorator
@inline
function fold(c: usize, sums: v128, scale: v128, small: bool): void {
  v128.store(c, madd(floats(sums, small), scale, v128.load(c)));
}

/** Both halves of a row of a tile of 8 lanes. */
// @ts-ignore: decorator
@inline
function fold8(c: usize, s0: v128, s1: v128, x: v128, w0: v128, w1: v128, small: bool = false): void {
  fold(c, s0, f32x4.mul(x, w0), small);
  fold(c + 16, s1, f32x4.mul(x, w1), small);
}

/** Zeros in `rows` rows of 8 floats. (memory.fill is a call out of the module.) */
// @ts-ignore: decorator
@inline
export function clear_rows(c: usize, rows: i32): void {
  const zero = f32x4.splat(0);
  for (const end = c + (rows << 5); c < end; c += 32) {
    v128.store(c, zero);
    v128.store(c, zero, 16);
  }
}

/** One panel of 8 lanes, q8 or unpacked, for a group of 4 or 6 rows. `small`: the sums of a block are below 2^22, or its scale is infinite. */
export function tile_rows_i8(c: usize, a: usize, b: usize, blocks: usize, steps: usize, group: i32, small: bool, next: usize, step: usize): void {
  clear_rows(c, group);
  const bytes = steps * STEP_BYTES;
  if (small) {
    if (group == 6) tile_6x8_small(c, a, b, blocks, bytes, next, step);
    else tile_4x8_small(c, a, b, blocks, bytes, next, step);
  } else {
    if (group == 6) tile_6x8_large(c, a, b, blocks, bytes);
    else tile_4x8_large(c, a, b, blocks, bytes);
  }
}

function tile_4x8_small(c: usize, a: usize, b: usize, blocks: usize, bytes: usize, next: usize, step: usize): void {
  tile_8(c, a, b, blocks, bytes, true, next, step, false);
}

function tile_4x8_large(c: usize, a: usize, b: usize, blocks: usize, bytes: usize): void {
  tile_8(c, a, b, blocks, bytes, false, 0, 0, false);
}

function tile_6x8_small(c: usize, a: usize, b: usize, blocks: usize, bytes: usize, next: usize, step: usize): void {
  tile_8(c, a, b, blocks, bytes, true, next, step, true);
}

function tile_6x8_large(c: usize, a: usize, b: usize, blocks: usize, bytes: usize): void {
  tile_8(c, a, b, blocks, bytes, false, 0, 0, true);
}

/** Four rows, or six, by a panel. */
// @ts-ignore: decorator
@inline
function tile_8(c: usize, a: usize, b: usize, blocks: usize, bytes: usize, small: bool, next: usize, step: usize, six: bool): void {
  let seen: i32 = 0;
  const sums: usize = six ? 24 : 16; // of the codes, behind the scales
  for (; blocks; blocks--) {
    const scale = b, head = a, from = a + sums;
    if (small) {
      seen |= load<u8>(next);
      next += step;
    }
    let c00 = start(v128.load32_splat(from, 0), small), c10 = start(v128.load32_splat(from, 4), small);
    let c20 = start(v128.load32_splat(from, 8), small), c30 = start(v128.load32_splat(from, 12), small);
    let c40 = six ? start(v128.load32_splat(from, 16), small) : c00, c50 = six ? start(v128.load32_splat(from, 20), small) : c00;
    let c01 = c00, c11 = c10, c21 = c20, c31 = c30, c41 = c40, c51 = c50;
    a += 2 * sums;
    b += 32;
    const end = b + bytes;
    while (b < end) {
      const b0 = lanes0(b), b1 = lanes4(b);
      let x = v128.load32_splat(a, 0);
      c00 = dot(x, b0, c00);
      c01 = dot(x, b1, c01);
      x = v128.load32_splat(a, 4);
      c10 = dot(x, b0, c10);
      c11 = dot(x, b1, c11);
      x = v128.load32_splat(a, 8);
      c20 = dot(x, b0, c20);
      c21 = dot(x, b1, c21);
      x = v128.load32_splat(a, 12);
      c30 = dot(x, b0, c30);
      c31 = dot(x, b1, c31);
      if (six) {
        x = v128.load32_splat(a, 16);
        c40 = dot(x, b0, c40);
        c41 = dot(x, b1, c41);
        x = v128.load32_splat(a, 20);
        c50 = dot(x, b0, c50);
        c51 = dot(x, b1, c51);
      }
      a += sums;
      b += STEP_BYTES;
    }
    const w0 = v128.load(scale), w1 = v128.load(scale, 16);
    fold8(c, c00, c01, v128.load32_splat(head, 0), w0, w1, small);
    fold8(c + 32, c10, c11, v128.load32_splat(head, 4), w0, w1, small);
    fold8(c + 64, c20, c21, v128.load32_splat(head, 8), w0, w1, small);
    fold8(c + 96, c30, c31, v128.load32_splat(head, 12), w0, w1, small);
    if (six) {
      fold8(c + 128, c40, c41, v128.load32_splat(head, 16), w0, w1, small);
      fold8(c + 160, c50, c51, v128.load32_splat(head, 20), w0, w1, small);
    }
  }
  if (small) store<i32>(c, seen, SEEN); // or the touches would be removed
}

/** One row by four q8 panels. */
export function tile_1x32_q8(c: usize, a: usize, b: usize, panel: usize): void {
  clear_rows(c, 4);
  const x0 = v128.load32_splat(a);
  let c0 = v128.load32_splat(a, 16);
  let c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
  const scale = b, end = b + panel;
  a += 32;
  b += 32;
  let b1 = b + panel, b2 = b1 + panel, b3 = b2 + panel;
  while (b < end) {
    const x = v128.load32_splat(a);
    c0 = dot(x, lanes0(b), c0);
    c1 = dot(x, lanes4(b), c1);
    c2 = dot(x, lanes0(b1), c2);
    c3 = dot(x, lanes4(b1), c3);
    c4 = dot(x, lanes0(b2), c4);
    c5 = dot(x, lanes4(b2), c5);
    c6 = dot(x, lanes0(b3), c6);
    c7 = dot(x, lanes4(b3), c7);
    a += 16;
    b += STEP_BYTES;
    b1 += STEP_BYTES;
    b2 += STEP_BYTES;
    b3 += STEP_BYTES;
  }
  const scale1 = scale + panel, scale2 = scale1 + panel, scale3 = scale2 + panel;
  fold8(c, c0, c1, x0, v128.load(scale), v128.load(scale, 16));
  fold8(c + 32, c2, c3, x0, v128.load(scale1), v128.load(scale1, 16));
  fold8(c + 64, c4, c5, x0, v128.load(scale2), v128.load(scale2, 16));
  fold8(c + 96, c6, c7, x0, v128.load(scale3), v128.load(scale3, 16));
}
