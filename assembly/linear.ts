/** y = act(A W^T + bias) and its variants, over tiles.ts. */
import { up_of } from './f16';
import { activate4 } from './simd';
import { fetch, fetch_pages, group_of, last_tile, shares_panels, tile_panel, tile_panels, tile_rows, touch_step, touches } from './tiles';
import { blocks_of, F32, is_integer, panel_bytes, plain, WIDE } from './weight-form';

/**
 * y[outRows[r]][0..N) = (or += with `accumulate`) rowGate[r] * act(a W^T + bias) for `rows` rows of packed A in groups of
 * `group` (4 or 6); without outRows row r of y. bias, outRows, rowGate are 0 when absent. aStride: bytes per group of A.
 * b: the panel of the first of the N columns, in `form`. yStride: bytes per row of y. c: scratch, see matmul_scratch_bytes.
 */
export function matmul(
  form: i32, c: usize, a: usize, aStride: usize, rows: i32, group: i32, K: usize, b: usize, N: i32, y: usize, yStride: usize,
  outRows: usize, bias: usize, activation: i32, accumulate: i32, rowGate: usize,
): void {
  const wide = form & WIDE;
  const together = shares_panels(form, rows, group);
  const up = up_of(form);
  form = plain(form);
  const panel = panel_bytes(form, K);
  const last = rows % group;
  const whole = rows - last;
  if (!together) {
    for (let n = 0, width = 0; n < N; n += width) {
      width = last_tile(form, up, c, a, b + <usize>(n >> 3) * panel, K, rows, N - n);
      store_tile(c, width, 0, rows, n, N, y, yStride, outRows, bias, activation, accumulate, rowGate);
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
      store_tile(c, panels << 3, r, group, n, N, y, yStride, outRows, bias, activation, accumulate, rowGate);
    }
    for (let i = 0, left = last ? panels : 0; i < left; i++) {
      tile_rows(form, c, at, w + <usize>i * panel, K, group_of(last), 1, next + min(touched, most), step);
      store_tile(c, 8, whole, last, n + (i << 3), N, y, yStride, outRows, bias, activation, accumulate, rowGate);
    }
  }
}

/** The tile in c into rows r .. r + count of the list, and there into columns n .. min(n + width, N). */
function store_tile(
  c: usize, width: i32, r: i32, count: i32, n: i32, N: i32, y: usize, yStride: usize, outRows: usize, bias: usize, activation: i32,
  accumulate: i32, rowGate: usize,
): void {
  const columns = N - n;
  y += n << 2;
  if (bias) bias += n << 2;
  if (columns >= width && !activation && !rowGate) {
    for (let i = 0; i < width; i += 8, c += 32, y += 32) {
      store_plain(c, width << 2, r, r + count, y, yStride, outRows, bias && bias + (i << 2), accumulate);
    }
    return;
  }
  for (const end = r + count; r < end; r++, c += width << 2) {
    const row = outRows ? load<u32>(outRows + (r << 2)) : r;
    const gate = f32x4.splat(rowGate ? load<f32>(rowGate + (r << 2)) : 1);
    let to = y + <usize>row * yStride,
      from = c,
      add = bias,
      left = min(columns, width);
    for (; left >= 8; left -= 8, from += 32, to += 32, add += 32) {
      let x0 = v128.load(from),
        x1 = v128.load(from, 16);
      if (bias) {
        x0 = f32x4.add(x0, v128.load(add));
        x1 = f32x4.add(x1, v128.load(add, 16));
      }
      if (activation) {
        x0 = activate4(activation, x0);
        x1 = activate4(activation, x1);
      }
      if (rowGate) {
        x0 = f32x4.mul(x0, gate);
        x1 = f32x4.mul(x1, gate);
      }
      if (accumulate) {
        x0 = f32x4.add(v128.load(to), x0);
        x1 = f32x4.add(v128.load(to, 16), x1);
      }
      v128.store(to, x0);
      v128.store(to, x1, 16);
    }
    for (; left > 0; left -= 4, from += 16, to += 16, add += 16) {
      let x = v128.load(from);
      if (bias) x = f32x4.add(x, load_part(add, left));
      if (activation) x = activate4(activation, x);
      if (rowGate) x = f32x4.mul(x, gate);
      if (accumulate) x = f32x4.add(load_part(to, left), x);
      store_part(to, x, left);
    }
  }
}

/** Eight columns of a tile whose rows are cStride bytes, as most products store them: the loop above takes three times as long. */
function store_plain(
  c: usize, cStride: usize, r: i32, end: i32, y: usize, yStride: usize, outRows: usize, bias: usize, accumulate: i32,
): void {
  let to = y + <usize>r * yStride;
  for (; r < end; r++, c += cStride, to += yStride) {
    if (outRows) to = y + <usize>load<u32>(outRows + (r << 2)) * yStride;
    let x0 = v128.load(c),
      x1 = v128.load(c, 16);
    if (bias) {
      x0 = f32x4.add(x0, v128.load(bias));
      x1 = f32x4.add(x1, v128.load(bias, 16));
    }
    if (accumulate) {
      x0 = f32x4.add(v128.load(to), x0);
      x1 = f32x4.add(v128.load(to, 16), x1);
    }
    v128.store(to, x0);
    v128.store(to, x1, 16);
  }
}

/** The first n of four floats, further lanes 0. Reads no further: what follows may not be ours, or the end of memory. */
export function load_part(from: usize, n: i32): v128 {
  if (n >= 4) return v128.load(from);
  let x = n > 1 ? v128.load64_zero(from) : v128.load32_zero(from);
  if (n == 3) x = v128.load_lane<f32>(from, x, 2, 8);
  return x;
}

/** The first n of four floats. */
function store_part(to: usize, x: v128, n: i32): void {
  if (n >= 4) {
    v128.store(to, x);
    return;
  }
  v128.store_lane<f32>(to, x, 0);
  if (n > 1) v128.store_lane<f32>(to, x, 1, 4);
  if (n > 2) v128.store_lane<f32>(to, x, 2, 8);
}
