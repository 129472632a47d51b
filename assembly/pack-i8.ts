/** Packing for the integer tiles: rows of A are quantized to int8 on the way; codes of W come quantized. Layouts: weight-form.ts. */
import { normalize_row } from './norm';
import { packed_address, packed_step, row_address, whole_groups } from './pack';
import { constant, scatter_lanes } from './simd';
import { blocks_of, nibble_bytes, Q4_ZEROS, Q8, row_bytes, STEP, STEP_BYTES, zero_of } from './weight-form';

/** 1.5 * 2^23: adding it rounds to an integer, to nearest even, whose low bits are those of the sum. */
const ROUND: i32 = 0x4b400000;

/** Bytes of scratch for pack_rows_i8: one row. */
export function pack_rows_i8_scratch_bytes(K: usize): f64 {
  return <f64>blocks_of(K) * 128;
}

/**
 * The `count` listed rows of x (`stride` bytes each), or the first ones without a list, in groups for weights of `form`.
 * norm: as in pack_rows_f32. row: scratch.
 * A scale is max|x| / 127 of its row (q8) or of 32 columns (q4), so a code is off by half of that at most. A NaN or an
 * infinity in a block makes its scale, and so the row's results, NaN or infinite.
 */
export function pack_rows_i8(
  out: usize, x: usize, stride: usize, rows: usize, count: i32, K: usize, group: i32, form: i32, row: usize,
  norm: i32, eps: f32, weight: usize, bias: usize,
): void {
  const rowBytes = row_bytes(form, K);
  if (!rowBytes) return; // blocks of no columns: none
  const padded = blocks_of(K) << 5, block = form == Q8 ? padded : 32;
  for (let i = 0, end = whole_groups(count, group); i < end; i++) {
    const to = packed_address(out, i, group, rowBytes), step = packed_step(i, count, group);
    if (i >= count) {
      clear_scales(to, step, padded, block);
      continue;
    }
    let from = row_address(x, rows, i, count, stride);
    if (norm) normalize_row(row, 4, from, <i32>K, norm - 1, eps, weight, bias);
    else if (padded > K) memory.copy(row, from, K << 2);
    if (padded > K) memory.fill(row + (K << 2), 0, (padded - K) << 2);
    if (norm || padded > K) from = row;
    quantize_row(to, step, from, padded, block, zero_of(form));
  }
}

/** Scales of 0 for a row that fills up a group: what memory held before may be subnormal, and slow to multiply by. */
function clear_scales(out: usize, step: usize, K: usize, block: usize): void {
  store<f32>(out, 0);
  for (let k: usize = 0; k < K; k += block, out += step * (2 + block / STEP)) store<f32>(out, 0);
}

/** One row into every `step`-th four bytes: per block its scale, -zero * (sum of codes), then STEP codes at a time. */
function quantize_row(out: usize, step: usize, x: usize, K: usize, block: usize, zero: i32): void {
  const magic = constant(out, ROUND), mask = constant(out, 0x7fffffff), zeros = i32x4.splat(-zero);
  store<f32>(out, 0); // what a row of no columns has
  store<i32>(out + step, 0);
  for (const end = x + (K << 2); x < end; ) {
    const last = x + (block << 2);
    const largest = largest_of(x, last, mask);
    // Below 1e-36 the factor would overflow: the block is 0. With a NaN it is 0, and the scale says NaN.
    const factor = v128.and(f32x4.div(f32x4.splat(127), largest), f32x4.gt(largest, f32x4.splat(1e-36)));
    let to = out + 2 * step;
    let sums = i32x4.splat(0);
    for (; x < last; x += 128) {
      const n0 = rounded(v128.load(x), factor, magic), n1 = rounded(v128.load(x, 16), factor, magic);
      const n2 = rounded(v128.load(x, 32), factor, magic), n3 = rounded(v128.load(x, 48), factor, magic);
      sums = i32x4.add(sums, i32x4.add(i32x4.add(n0, n1), i32x4.add(n2, n3)));
      to = scatter_codes(to, step, i16x8.narrow_i32x4_s(n0, n1), i16x8.narrow_i32x4_s(n2, n3));
      const n4 = rounded(v128.load(x, 64), factor, magic), n5 = rounded(v128.load(x, 80), factor, magic);
      const n6 = rounded(v128.load(x, 96), factor, magic), n7 = rounded(v128.load(x, 112), factor, magic);
      sums = i32x4.add(sums, i32x4.add(i32x4.add(n4, n5), i32x4.add(n6, n7)));
      to = scatter_codes(to, step, i16x8.narrow_i32x4_s(n4, n5), i16x8.narrow_i32x4_s(n6, n7));
    }
    sums = i32x4.add(sums, v128.shuffle<i32>(sums, sums, 2, 3, 0, 1));
    sums = i32x4.mul(i32x4.add(sums, v128.shuffle<i32>(sums, sums, 1, 0, 3, 2)), zeros);
    v128.store_lane<f32>(out, f32x4.div(largest, f32x4.splat(127)), 0);
    v128.store_lane<i32>(out + step, sums, 0);
    out = to;
  }
}

// @ts-ignore: decorator
@inline
function scatter_codes(to: usize, step: usize, h0: v128, h1: v128): usize {
  if (ASC_FEATURE_RELAXED_SIMD) return scatter_lanes(to, step, i8x16.narrow_i16x8_s(h0, h1));
  return scatter_lanes(scatter_lanes(to, step, h0), step, h1);
}

// @ts-ignore: decorator
@inline
function rounded(x: v128, factor: v128, magic: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(x, factor), magic), magic);
}

/**
 * max |x| of the numbers up to `end`, 32 at a time, in every lane; NaN if there is one. By their bits without the sign, `mask`,
 * whose order is that of the sizes, with NaN above all: maxima of floats that heed NaN take several instructions each.
 */
// @ts-ignore: decorator
@inline
function largest_of(x: usize, end: usize, mask: v128): v128 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  for (; x < end; x += 128) {
    a = i32x4.max_s(i32x4.max_s(a, v128.and(v128.load(x), mask)), v128.and(v128.load(x, 64), mask));
    b = i32x4.max_s(i32x4.max_s(b, v128.and(v128.load(x, 16), mask)), v128.and(v128.load(x, 80), mask));
    c = i32x4.max_s(i32x4.max_s(c, v128.and(v128.load(x, 32), mask)), v128.and(v128.load(x, 96), mask));
    d = i32x4.max_s(i32x4.max_s(d, v128.and(v128.load(x, 48), mask)), v128.and(v128.load(x, 112), mask));
  }
  a = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return i32x4.max_s(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2));
}

/** Lane `lane` of a q8 panel: its scale and `columns` codes (a byte each, a multiple of 32). */
export function pack_lane_q8(panel: usize, lane: usize, codes: usize, columns: usize, scale: f32): void {
  store<f32>(panel + (lane << 2), scale);
  let to = panel + 32 + lane * STEP;
  for (const end = codes + columns; codes < end; codes += STEP, to += STEP_BYTES) {
    if (ASC_FEATURE_RELAXED_SIMD) store<u32>(to, load<u32>(codes));
    else store<u16>(to, load<u16>(codes));
  }
}

/**
 * Lane `lane` of a panel of nibbles, which starts as zeros: codes of 0..15, a byte each; f16 scales and zeros, one to 32
 * columns. Returns the largest scale but for its sign; from 0x7c00 on it is not finite.
 */
export function pack_lane_q4(panel: usize, lane: usize, codes: usize, columns: usize, scales: usize, zeros: usize, form: i32): i32 {
  let largest = 0;
  const block = nibble_bytes(form);
  const shift: u32 = lane > 3 ? 4 : 0;
  for (const end = codes + columns; codes < end; panel += block, scales += 2, zeros++) {
    const scale = load<u16>(scales);
    largest = max(largest, scale & 0x7fff);
    store<u16>(panel + (lane << 1), scale);
    if (form == Q4_ZEROS) store<u8>(panel + 16 + lane, load<u8>(zeros));
    let to = panel + block - 128 + (lane & 3) * STEP;
    for (const last = codes + 32; codes < last; codes += STEP, to += STEP_BYTES >> 1) {
      if (ASC_FEATURE_RELAXED_SIMD) store<u32>(to, load<u32>(to) | (load<u32>(codes) << shift));
      else store<u16>(to, load<u16>(to) | (load<u16>(codes) << <u16>shift));
    }
  }
  return largest;
}
