/**
 * The forms of a packed weight: panels of 8 lanes, and what a row of packed A looks like for them. Float forms multiply
 * f32; integer forms multiply codes of A (int8 with one scale to a row or block) by codes of W, exactly, in i32.
 *
 * Integer panels are `blocks` of: 8 scales, then steps of 8 lanes by STEP columns. A q8 panel is one block; a q4 panel is
 * kept as nibbles (lanes 0-3 low, 4-7 high) in blocks of 32 columns with f16 scales, and unpacked to the same layout.
 * Columns are padded to a multiple of 32. A packed for them is, per group and block: a scale to a row, -zero * (sum of
 * codes) to a row, then the steps; so a tile starts from that sum and the zero of the codes costs nothing.
 */

export const F32: i32 = 0;
export const F16: i32 = 1;
export const Q8: i32 = 2;
/** Nibbles with zero 8. */
export const Q4: i32 = 3;
/** Nibbles with a zero of 0-15 to a block. */
export const Q4_ZEROS: i32 = 4;
/** Added to a form with infinities or NaN among its f16: the products of one row take a short cut that knows none. */
export const SPECIAL: i32 = 8;
/** Added to F32: whole groups of 6 rows take two panels at a time. */
export const WIDE: i32 = 16;
/**
 * From this bit on stands how many powers of two the f16 of a weight were raised by when it was packed: as far as the largest
 * allows, so that hardly one is left below 2^-14. Numbers that small cost Intel's multipliers over a hundred cycles each.
 */
export const RAISED: i32 = 8;

/** A form without what was added to it. */
// @ts-ignore: decorator
@inline
export function plain(form: i32): i32 {
  return form & 7;
}

/** Columns that one step of an integer tile multiplies: 4 int8 by the relaxed dot product, 2 int16 without it. */
export const STEP: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 2;
/** Bytes of a step of an integer panel. */
export const STEP_BYTES: usize = STEP << 3;

/** Bytes of the sums of the largest tile, 6 rows of 16 floats. */
const TILE: usize = 384;
/** Bytes behind c, and behind the sums of a tile of integers, at which it leaves what it touched. */
export const SEEN: usize = 192;
/** Bytes behind c, and behind the sums of tiles of 8 columns, at which kernels unpack a panel. */
export const UNPACKED: usize = 256;

// @ts-ignore: decorator
@inline
export function is_integer(form: i32): bool {
  return form >= Q8;
}

/** Whether tiles of several rows need the panel unpacked. */
// @ts-ignore: decorator
@inline
export function is_compressed(form: i32): bool {
  return form != F32 && form != Q8;
}

// @ts-ignore: decorator
@inline
export function blocks_of(K: usize): usize {
  return (K + 31) >> 5;
}

/** Bytes of a block of 32 columns of 8 lanes as nibbles: f16 scales, zeros if there are any, codes. */
// @ts-ignore: decorator
@inline
export function nibble_bytes(form: i32): usize {
  return form == Q4 ? 144 : 152;
}

/**
 * The code that stands for weight 0. The relaxed dot product takes one operand of 0..127 only (beyond it machines
 * disagree), so weights are shifted into that range; with i16 products they stay signed.
 */
// @ts-ignore: decorator
@inline
export function zero_of(form: i32): i32 {
  if (form == Q4) return 8;
  if (form == Q4_ZEROS) return 16;
  return ASC_FEATURE_RELAXED_SIMD ? 64 : 0;
}

/** Bytes of a panel of 8 lanes by K columns. */
export function panel_bytes(form: i32, K: usize): usize {
  if (form == F32) return K << 5;
  if (form == F16) return K << 4;
  if (form == Q8) return 32 + (blocks_of(K) << 8);
  return blocks_of(K) * nibble_bytes(form);
}

/** Bytes that one row of packed A takes in its group. */
export function row_bytes(form: i32, K: usize): usize {
  if (!is_integer(form)) return K << 2;
  const codes = blocks_of(K) * (128 / STEP);
  return form == Q8 ? 8 + codes : blocks_of(K) * 8 + codes;
}

/** Bytes of scratch for matmul and matmul_inner: the sums of a tile, or of a narrow one and an unpacked panel behind it. */
export function matmul_scratch_bytes(form: i32, K: usize): f64 {
  if (!is_compressed(form)) return TILE;
  return max<f64>(TILE, UNPACKED + (is_integer(form) ? <f64>blocks_of(K) * 288 : <f64>K * 32));
}

/** Largest code of a q8 weight above its zero: 63 where codes have 7 bits, else 127. */
export function q8_levels(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 63 : 127;
}

/** 1 in the binary that uses relaxed SIMD, else 0. */
export function uses_relaxed_simd(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 1 : 0;
}
