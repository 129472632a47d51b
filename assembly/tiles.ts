/**
 * The tiles of the matrix products: sums of packed A (groups of 4 or 6 rows, a[k][group]) times panels of W (b[k][8]).
 *
 * Every element is the chain madd(a[k], b[k], sum) over ascending k from 0, in every tile: a row's bits depend neither on
 * how many rows run with it nor on where its column lies. 4x8, 2x16 and 1x32 fill the 15 registers that V8 allocates
 * from with mul and add; 6x8 does so only in engines whose multiply-add needs no temporary, and is faster there.
 * A loop body is one k step: JITs hoist the loads of an unrolled one and spill. Sums go to `c`, row-major [rows][width].
 */
import { F16_MASK, finite_f16x4, unpack_f16 } from './f16';
import { constant, madd, store4 } from './simd';
import { tile_1x32_q8, tile_rows_i8 } from './tiles-i8';
import { tile_1x32_q4, unpack_q4 } from './tiles-q4';
import { blocks_of, F16, F32, is_compressed, is_integer, panel_bytes, plain, Q8, SPECIAL, STEP, UNPACKED } from './weight-form';

/** K steps of the wide tile between two touches of the next panels. */
const TOUCH: usize = 16;

/** Of the memory of most systems; of Wasm it is another thing. */
const PAGE: usize = 4096;

function tile_4x8(c: usize, a: usize, b: usize, K: usize, next: usize, step: usize): void {
  tile_8(c, a, b, K, next, step, false);
}

function tile_6x8(c: usize, a: usize, b: usize, K: usize, next: usize, step: usize): void {
  tile_8(c, a, b, K, next, step, true);
}

/** Four rows, or six, by a panel. */
// @ts-ignore: decorator
@inline
function tile_8(c: usize, a: usize, b: usize, K: usize, next: usize, step: usize, six: bool): void {
  let seen: i32 = 0;
  let c00 = f32x4.splat(0), c10 = c00, c20 = c00, c30 = c00, c40 = c00, c50 = c00;
  let c01 = c00, c11 = c00, c21 = c00, c31 = c00, c41 = c00, c51 = c00;
  const end = b + (K << 5);
  while (b < end) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a, 0);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    if (six) {
      x = v128.load32_splat(a, 16);
      c40 = madd(x, b0, c40);
      c41 = madd(x, b1, c41);
      x = v128.load32_splat(a, 20);
      c50 = madd(x, b0, c50);
      c51 = madd(x, b1, c51);
    }
    if (ASC_FEATURE_RELAXED_SIMD) {
      seen |= load<u8>(next);
      next += step;
    }
    a += six ? 24 : 16;
    b += 32;
  }
  if (ASC_FEATURE_RELAXED_SIMD) store<i32>(c, seen); // or the touches would be removed
  store4(c, c00, c01, c10, c11);
  store4(c + 64, c20, c21, c30, c31);
  if (six) store4(c + 128, c40, c41, c50, c51);
}

/**
 * Six rows by two panels, for engines that join neighbouring vectors into 256-bit ones (src/backend/wasm/wide.ts): 12 sums, 2
 * loads and a splat are then 15 registers. Where they are not joined it spills. At twice the speed a touch in every k step costs 4 percent:
 * it makes one in TOUCH.
 */
export function tile_6x16(c: usize, a: usize, b: usize, panel: usize, next: usize, step: usize): void {
  let seen: i32 = 0;
  let c00 = f32x4.splat(0), c01 = c00, c02 = c00, c03 = c00;
  let c10 = c00, c11 = c00, c12 = c00, c13 = c00;
  let c20 = c00, c21 = c00, c22 = c00, c23 = c00;
  let c30 = c00, c31 = c00, c32 = c00, c33 = c00;
  let c40 = c00, c41 = c00, c42 = c00, c43 = c00;
  let c50 = c00, c51 = c00, c52 = c00, c53 = c00;
  const end = b + panel;
  let b2 = end;
  while (b < end) {
    seen |= load<u8>(next);
    next += step * TOUCH;
    const stop = min(b + 32 * TOUCH, end);
    while (b < stop) {
      const w0 = v128.load(b), w1 = v128.load(b, 16), w2 = v128.load(b2), w3 = v128.load(b2, 16);
      let x = v128.load32_splat(a, 0);
      c00 = madd(x, w0, c00);
      c01 = madd(x, w1, c01);
      c02 = madd(x, w2, c02);
      c03 = madd(x, w3, c03);
      x = v128.load32_splat(a, 4);
      c10 = madd(x, w0, c10);
      c11 = madd(x, w1, c11);
      c12 = madd(x, w2, c12);
      c13 = madd(x, w3, c13);
      x = v128.load32_splat(a, 8);
      c20 = madd(x, w0, c20);
      c21 = madd(x, w1, c21);
      c22 = madd(x, w2, c22);
      c23 = madd(x, w3, c23);
      x = v128.load32_splat(a, 12);
      c30 = madd(x, w0, c30);
      c31 = madd(x, w1, c31);
      c32 = madd(x, w2, c32);
      c33 = madd(x, w3, c33);
      x = v128.load32_splat(a, 16);
      c40 = madd(x, w0, c40);
      c41 = madd(x, w1, c41);
      c42 = madd(x, w2, c42);
      c43 = madd(x, w3, c43);
      x = v128.load32_splat(a, 20);
      c50 = madd(x, w0, c50);
      c51 = madd(x, w1, c51);
      c52 = madd(x, w2, c52);
      c53 = madd(x, w3, c53);
      a += 24;
      b += 32;
      b2 += 32;
    }
  }
  store<i32>(c, seen);
  store4(c, c00, c01, c02, c03);
  store4(c + 64, c10, c11, c12, c13);
  store4(c + 128, c20, c21, c22, c23);
  store4(c + 192, c30, c31, c32, c33);
  store4(c + 256, c40, c41, c42, c43);
  store4(c + 320, c50, c51, c52, c53);
}

/** Two rows by two panels; `panel` is the byte length of a panel. */
function tile_2x16(c: usize, a: usize, b: usize, panel: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c02 = c00, c03 = c00;
  let c10 = c00, c11 = c00, c12 = c00, c13 = c00;
  const end = b + panel;
  let b2 = end;
  while (b < end) {
    const x = v128.load32_splat(a, 0), y = v128.load32_splat(a, 4);
    let w = v128.load(b);
    c00 = madd(x, w, c00);
    c10 = madd(y, w, c10);
    w = v128.load(b, 16);
    c01 = madd(x, w, c01);
    c11 = madd(y, w, c11);
    w = v128.load(b2);
    c02 = madd(x, w, c02);
    c12 = madd(y, w, c12);
    w = v128.load(b2, 16);
    c03 = madd(x, w, c03);
    c13 = madd(y, w, c13);
    a += 16;
    b += 32;
    b2 += 32;
  }
  store4(c, c00, c01, c02, c03);
  store4(c + 64, c10, c11, c12, c13);
}

function tile_1x32_f32(c: usize, a: usize, b: usize, panel: usize): void {
  tile_1x32(c, a, b, panel, false, 0);
}

function tile_1x32_f16(c: usize, a: usize, b: usize, panel: usize, up: i32): void {
  tile_1x32(c, a, b, panel, true, up);
}

/**
 * One row by four panels of f32 or, with `half`, of finite f16: eight chains hide the latency that one panel's two would wait for.
 */
// @ts-ignore: decorator
@inline
function tile_1x32(c: usize, a: usize, b: usize, panel: usize, half: bool, raisedUp: i32): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
  const mask = half ? constant(c, F16_MASK) : c0, up = half ? constant(c, raisedUp) : c0;
  const end = b + panel, bytes: usize = half ? 16 : 32;
  let b1 = end, b2 = b1 + panel, b3 = b2 + panel;
  while (b < end) {
    const x = v128.load32_splat(a);
    c0 = madd(x, lanes0(b, half, mask, up), c0);
    c1 = madd(x, lanes4(b, half, mask, up), c1);
    c2 = madd(x, lanes0(b1, half, mask, up), c2);
    c3 = madd(x, lanes4(b1, half, mask, up), c3);
    c4 = madd(x, lanes0(b2, half, mask, up), c4);
    c5 = madd(x, lanes4(b2, half, mask, up), c5);
    c6 = madd(x, lanes0(b3, half, mask, up), c6);
    c7 = madd(x, lanes4(b3, half, mask, up), c7);
    a += 16;
    b += bytes;
    b1 += bytes;
    b2 += bytes;
    b3 += bytes;
  }
  store4(c, c0, c1, c2, c3);
  store4(c + 64, c4, c5, c6, c7);
}

// @ts-ignore: decorator
@inline
function lanes0(b: usize, half: bool, mask: v128, up: v128): v128 {
  return half ? finite_f16x4(v128.load16x4_s(b), mask, up) : v128.load(b);
}

// @ts-ignore: decorator
@inline
function lanes4(b: usize, half: bool, mask: v128, up: v128): v128 {
  return half ? finite_f16x4(v128.load16x4_s(b, 8), mask, up) : v128.load(b, 16);
}

/**
 * Runs the tile for the last `rows` <= 6 rows of A and up to `left` columns from panel b on; returns its width. Rows
 * beyond the last are filler that the epilogue ignores. The narrow rest of 1 or 2 rows runs as 4x8.
 */
export function last_tile(form: i32, up: i32, c: usize, a: usize, b: usize, K: usize, rows: i32, left: i32): i32 {
  if (rows == 1 && left > 24) {
    const panel = panel_bytes(form, K);
    if (form == F32) tile_1x32_f32(c, a, b, panel);
    else if (form == F16) tile_1x32_f16(c, a, b, panel, up);
    else if (form == Q8) tile_1x32_q8(c, a, b, panel);
    else tile_1x32_q4(c, a, b, panel, blocks_of(K), form, up);
    return 32;
  }
  if (rows == 2 && left > 8 && form == F32) {
    tile_2x16(c, a, b, K << 5);
    return 16;
  }
  tile_rows(form, c, a, tile_panel(form, up, c, b, K), K, group_of(rows), 1, b, 0);
  return 8;
}

/** Rows of the group that holds `rows` <= 6 rows. */
// @ts-ignore: decorator
@inline
export function group_of(rows: i32): i32 {
  return rows > 4 ? 6 : 4;
}

/** Panels that one tile of whole groups takes. Only the relaxed binary has the wide tile, and only for f32. */
// @ts-ignore: decorator
@inline
export function tile_panels(wide: i32, columns: i32): i32 {
  return ASC_FEATURE_RELAXED_SIMD && wide && columns > 8 ? 2 : 1;
}

/**
 * Whether the rows of a product go over the panels together, which are unpacked once for all of them, the last ones that fill no group
 * in a tile of their own. Else they are so few that last_tile, which takes several panels at a time, does them all.
 */
export function shares_panels(form: i32, rows: i32, group: i32): bool {
  return rows >= group || (is_compressed(plain(form)) && (rows > 1 || (form & SPECIAL) != 0));
}

/** The panels as tile_rows takes them: themselves, or one unpacked behind c. */
export function tile_panel(form: i32, up: i32, c: usize, panel: usize, K: usize): usize {
  if (form == F16) return unpack_f16(c + UNPACKED, panel, K, up);
  if (is_compressed(form)) return unpack_q4(c + UNPACKED, panel, blocks_of(K), form, up);
  if (!touches(form)) fetch(c, panel, panel_bytes(form, K));
  return panel;
}

/**
 * Whether tiles touch the next panel while they compute. Those of floats have no room for it without fused multiply-adds, and those of
 * q8 none at all: their panels are fetched before.
 */
// @ts-ignore: decorator
@inline
export function touches(form: i32): bool {
  return form != Q8 && (ASC_FEATURE_RELAXED_SIMD || is_integer(form));
}

/** Brings panels into the cache. */
export function fetch(c: usize, panel: usize, bytes: usize): void {
  let seen: i32 = 0;
  for (let at = panel, end = panel + bytes; at < end; at += 64) seen |= load<i32>(at);
  store<i32>(c, seen); // or the loads would be removed
}

/** One load from each page of the `bytes` bytes before `end`, so that their addresses are known when the tiles touch them. */
export function fetch_pages(c: usize, end: usize, bytes: usize): void {
  let seen: i32 = 0;
  for (let left: isize = bytes, at = end - 1; left > 0; left -= PAGE, at -= PAGE) seen |= load<u8>(at);
  store<i32>(c, seen);
}

/**
 * Bytes from one touch to the next where each of `steps` k steps of `tiles` tiles touches some of the next `bytes` bytes of panels.
 * So they come while the tiles compute: there is no other way to fetch, and a load that misses the caches lets only some hundred
 * instructions pass.
 */
// @ts-ignore: decorator
@inline
export function touch_step(bytes: usize, steps: usize, tiles: usize): usize {
  return steps ? min((bytes + steps * tiles - 1) / (steps * tiles), bytes / steps) : 0;
}

/** A panel of 8 columns, or two of f32, for a group of 4 or 6 rows. Its k steps, of the wide tile every 16th, touch the bytes next, next + step, ... */
// @ts-ignore: decorator
@inline
export function tile_rows(form: i32, c: usize, a: usize, b: usize, K: usize, group: i32, panels: i32, next: usize, step: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && panels > 1) tile_6x16(c, a, b, K << 5, next, step);
  else if (is_integer(form)) tile_rows_i8(c, a, b, form == Q8 ? 1 : blocks_of(K), (form == Q8 ? blocks_of(K) << 5 : 32) / STEP, group, form != Q8, next, step);
  else if (group == 6) tile_6x8(c, a, b, K, next, step);
  else tile_4x8(c, a, b, K, next, step);
}
