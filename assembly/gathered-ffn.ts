/** The first half of an FFN: its product ends as packed A of the second half, so it never takes a pass of its own. */
import { up_of } from './f16';
import { load_part } from './linear';
import { activate4, silu4 } from './simd';
import { fetch, fetch_pages, group_of, last_tile, shares_panels, tile_panel, tile_panels, tile_rows, touch_step, touches } from './tiles';
import { blocks_of, F32, is_integer, panel_bytes, plain, WIDE } from './weight-form';

/**
 * act(a gate^T + gateBias) * (a up^T + upBias), or act(a up^T + upBias) without `gated`, for `rows` rows of packed A: as
 * packed A of the same groups, out[group][m][rows of the group], or with `rowMajor` as rows, of outStride bytes to a row. b: the
 * panel of the first of N lanes, in `form`, whose first output is `first` of M. Rounds M up to 4 columns with filler. c: scratch as
 * for matmul.
 */
export function matmul_inner(
  form: i32, c: usize, a: usize, aStride: usize, rows: i32, group: i32, K: usize, b: usize, N: i32, first: i32, M: i32, gated: i32,
  out: usize, outStride: usize, rowMajor: i32, gateBias: usize, upBias: usize, activation: i32,
): void {
  const wide = form & WIDE;
  const together = shares_panels(form, rows, group);
  const up = up_of(form);
  form = plain(form);
  const panel = panel_bytes(form, K);
  const last = rows % group;
  const whole = rows - last;
  const shift = gated ? 1 : 0; // lanes to outputs
  if (!together) {
    for (let n = 0, width = 0; n < N; n += width) {
      width = last_tile(form, up, c, a, b + <usize>(n >> 3) * panel, K, rows, N - n);
      inner_tile(c, width, 0, rows, first + (n >> shift), M, gated, out, outStride, rowMajor, gateBias, upBias, activation);
    }
    return;
  }
  const end = b + <usize>((N + 7) >> 3) * panel;
  const steps = is_integer(form) ? blocks_of(K) : K;
  if (form == F32 && touches(form)) fetch(c, b, <usize>tile_panels(wide, N) * panel);
  for (let n = 0, p = b, panels = 1; n < N; n += panels << 3, p += <usize>panels * panel) {
    panels = tile_panels(wide, N - n);
    const w = tile_panel(form, up, c, p, K);
    const size = <usize>panels * panel,
      ahead = touches(form) ? min(size, end - p - size) : 0,
      step = touch_step(ahead, steps, (rows + group - 1) / group),
      next = ahead ? p + size : p,
      most = ahead - step * steps;
    fetch_pages(c, p + size + ahead, ahead);
    let at = a,
      touched: usize = 0;
    for (let r = 0; r < whole; r += group, at += aStride, touched += step * steps) {
      tile_rows(form, c, at, w, K, group, panels, next + min(touched, most), step);
      inner_tile(c, panels << 3, r, group, first + (n >> shift), M, gated, out, outStride, rowMajor, gateBias, upBias, activation);
    }
    for (let i = 0, left = last ? panels : 0; i < left; i++) {
      const m = first + ((n + (i << 3)) >> shift);
      tile_rows(form, c, at, w + <usize>i * panel, K, group_of(last), 1, next + min(touched, most), step);
      inner_tile(c, 8, whole, last, m, M, gated, out, outStride, rowMajor, gateBias, upBias, activation);
    }
  }
}

/**
 * The tile in c, of which the `rows` rows from r on are real and whose first output is m: transposed into their group of `out`, where
 * filler rows repeat the last real one, or with `rowMajor` into rows of it.
 */
function inner_tile(
  c: usize, width: i32, r: i32, rows: i32, m: i32, M: i32, gated: i32, out: usize, outStride: usize, rowMajor: i32, gateBias: usize,
  upBias: usize, activation: i32,
): void {
  const last = rows - 1;
  const row = (<usize>width) << 2;
  const r1 = row * min(1, last);
  const r2 = row * min(2, last);
  const r3 = row * min(3, last);
  const step: usize = gated ? 32 : 16;
  const column: usize = group_of(rows) << 2;
  out += <usize>r * outStride + <usize>m * (rowMajor ? 4 : column);
  for (const end = c + (width << 2); c < end && m < M; c += step, m += 4) {
    const u = upBias ? load_part(upBias + (m << 2), M - m) : f32x4.splat(0);
    const g = gateBias ? load_part(gateBias + (m << 2), M - m) : f32x4.splat(0);
    for (let i = 0, p = c; i < rows; i += 2, p += row << 1) activate_pair(p, i < last ? p + row : p, gated, g, u, activation);
    if (rowMajor) {
      for (let i = 0, p = c, to = out; i < rows; i++, p += row, to += outStride) v128.store(to, v128.load(p));
      out += 16;
      continue;
    }
    const to1 = out + column;
    const to2 = to1 + column;
    const to3 = to2 + column;
    const h0 = v128.load(c);
    const h1 = v128.load(c + r1);
    const h2 = v128.load(c + r2);
    const h3 = v128.load(c + r3);
    const t0 = v128.shuffle<f32>(h0, h1, 0, 4, 1, 5);
    const t1 = v128.shuffle<f32>(h2, h3, 0, 4, 1, 5);
    const t2 = v128.shuffle<f32>(h0, h1, 2, 6, 3, 7);
    const t3 = v128.shuffle<f32>(h2, h3, 2, 6, 3, 7);
    v128.store(out, v128.shuffle<f64>(t0, t1, 0, 2));
    v128.store(to1, v128.shuffle<f64>(t0, t1, 1, 3));
    v128.store(to2, v128.shuffle<f64>(t2, t3, 0, 2));
    v128.store(to3, v128.shuffle<f64>(t2, t3, 1, 3));
    if (rows > 4) {
      const h4 = v128.load(c + (row << 2));
      const h5 = v128.load(c + row * last);
      const t4 = v128.shuffle<f32>(h4, h5, 0, 4, 1, 5);
      const t5 = v128.shuffle<f32>(h4, h5, 2, 6, 3, 7);
      v128.store_lane<f64>(out, t4, 0, 16);
      v128.store_lane<f64>(to1, t4, 1, 16);
      v128.store_lane<f64>(to2, t5, 0, 16);
      v128.store_lane<f64>(to3, t5, 1, 16);
    }
    out = to3 + column;
  }
}

/**
 * Four outputs of two rows of a tile, in place of its first four lanes. silu, the usual one, is inlined: two side by side
 * share its constants and hide half of its latency.
 */
function activate_pair(p: usize, q: usize, gated: i32, gateBias: v128, upBias: v128, activation: i32): void {
  const bias = gated ? gateBias : upBias;
  let x = f32x4.add(v128.load(p), bias);
  let y = f32x4.add(v128.load(q), bias);
  if (activation == 1) {
    x = silu4(x);
    y = silu4(y);
  } else if (activation) {
    x = activate4(activation, x);
    y = activate4(activation, y);
  }
  if (gated) {
    x = f32x4.mul(x, f32x4.add(v128.load(p, 16), upBias));
    y = f32x4.mul(y, f32x4.add(v128.load(q, 16), upBias));
  }
  v128.store(p, x);
  v128.store(q, y);
}
