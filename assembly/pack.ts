/**
 * Packing for the matrix products: weights into panels once; rows of A into groups of `group` (4 or 6) rows for each
 * product, out[group][k][rows of the group]. A last group of up to 4 rows is one of 4, of 5 rows one of 6.
 */
import { normalize_row } from './norm';
import { scatter_lanes } from './simd';
import { group_of } from './tiles';

/**
 * Half a panel of a weight: lanes[k][0..4) of a [K, 8] panel from `rows` <= 4 rows of a row-major [rows, K] matrix.
 * Lanes without a row become zero. `panel` points at the first lane of the half.
 */
export function pack_half_panel_f32(panel: usize, matrix: usize, rows: i32, K: i32): void {
  const stride = <usize>K << 2;
  for (let k: usize = 0; k < stride; k += 4, panel += 32) {
    let lanes = f32x4.splat(0);
    if (rows > 0) lanes = v128.load32_zero(matrix + k);
    if (rows > 1) lanes = v128.load_lane<f32>(matrix + stride + k, lanes, 1);
    if (rows > 2) lanes = v128.load_lane<f32>(matrix + 2 * stride + k, lanes, 2);
    if (rows > 3) lanes = v128.load_lane<f32>(matrix + 3 * stride + k, lanes, 3);
    v128.store(panel, lanes);
  }
}

/**
 * Packed rows, filler included: the last row fills its group up, as what memory held before may be subnormal numbers, which cost a
 * hundred cycles each. One row alone has a tile of its own.
 */
// @ts-ignore: decorator
@inline
export function filled(count: i32, group: i32): i32 {
  return count < 2 ? count : whole_groups(count, group);
}

/** `count` rows and what fills their last group up. */
// @ts-ignore: decorator
@inline
export function whole_groups(count: i32, group: i32): i32 {
  const last = count % group;
  return last == 0 ? count : count - last + group_of(last);
}

/** Address of column 0 of packed row i; a row takes rowBytes bytes of its group. */
// @ts-ignore: decorator
@inline
export function packed_address(out: usize, i: i32, group: i32, rowBytes: usize): usize {
  return out + <usize>(i - (i % group)) * rowBytes + <usize>((i % group) << 2);
}

/** Bytes from one column of packed row i to the next. */
// @ts-ignore: decorator
@inline
export function packed_step(i: i32, count: i32, group: i32): usize {
  const first = i - (i % group);
  return count - first >= group ? group << 2 : group_of(count - first) << 2;
}

/** Row min(i, count - 1) of the list, or of x itself without one. */
// @ts-ignore: decorator
@inline
export function row_address(x: usize, rows: usize, i: i32, count: i32, stride: usize): usize {
  const at = min(i, count - 1);
  return x + <usize>(rows ? load<u32>(rows + (at << 2)) : at) * stride;
}

/**
 * The `count` rows of x [., K] that `rows` lists, or the first `count` without a list (rows = 0), in groups.
 * norm: 0 none, 1 RMSNorm, 2 LayerNorm, with eps, weight, bias (or 0) as in normalize.
 */
export function pack_rows_f32(
  out: usize, x: usize, rows: usize, count: i32, K: usize, group: i32, norm: i32, eps: f32, weight: usize, bias: usize,
): void {
  for (let i = 0, end = filled(count, group); i < end; i++) {
    const to = packed_address(out, i, group, K << 2), step = packed_step(i, count, group), from = row_address(x, rows, i, count, K << 2);
    if (norm) normalize_row(to, step, from, <i32>K, norm - 1, eps, weight, bias);
    else pack_row(to, step, from, K);
  }
}

/** One row into every `step`-th byte of out. */
function pack_row(out: usize, step: usize, x: usize, K: usize): void {
  const end = x + (K << 2);
  for (; x + 16 <= end; x += 16) out = scatter_lanes(out, step, v128.load(x));
  for (; x < end; x += 4, out += step) store<f32>(out, load<f32>(x));
}
