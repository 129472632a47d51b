/** The first half of an FFN: its product ends as packed A of the second half, so it never takes a pass of its own. */
import { activated, load_part } from './linear';
import { group_of, last_tile, tile_rows } from './tiles';

/**
 * act(a gate^T + gateBias) * (a up^T + upBias), or act(a up^T + upBias) without `gated`, for `rows` rows of packed A, as
 * packed A of the same groups: out[group][m][rows of the group], outStride bytes per group. b: the panel of the first of
 * N lanes, whose first output is `first` of M. Rounds M up to 4 columns with filler. c: 192 bytes of scratch.
 */
export function matmul_inner_f32(
  c: usize,
  a: usize,
  aStride: usize,
  rows: i32,
  group: i32,
  K: usize,
  b: usize,
  N: i32,
  first: i32,
  M: i32,
  gated: i32,
  out: usize,
  outStride: usize,
  gateBias: usize,
  upBias: usize,
  activation: i32,
): void {
  const panel = K << 5;
  const last = rows % group;
  const whole = rows - last;
  const shift = gated ? 1 : 0; // lanes to outputs
  for (let n = 0, p = b; whole && n < N; n += 8, p += panel) {
    const m = first + (n >> shift);
    const addGate = gateBias ? gateBias + (m << 2) : 0,
      addUp = upBias ? upBias + (m << 2) : 0;
    for (let r = 0, at = a, to = out + <usize>((m * group) << 2); r < whole; r += group, at += aStride, to += outStride) {
      tile_rows(c, at, p, K, group);
      inner_tile(c, 8, group, M - m, to, gated, addGate, addUp, activation);
    }
  }
  if (!last) return;
  const at = a + <usize>(whole / group) * aStride,
    to = out + <usize>(whole / group) * outStride;
  for (let n = 0; n < N; ) {
    const m = first + (n >> shift);
    const addGate = gateBias ? gateBias + (m << 2) : 0,
      addUp = upBias ? upBias + (m << 2) : 0;
    const width = last_tile(c, at, b + <usize>(n >> 3) * panel, K, last, N - n);
    inner_tile(c, width, last, M - m, to + <usize>((m * group_of(last)) << 2), gated, addGate, addUp, activation);
    n += width;
  }
}

/** The tile in c, of which `rows` rows are real, transposed into the group at `out`; filler rows repeat the last real one. */
function inner_tile(
  c: usize,
  width: i32,
  rows: i32,
  columns: i32,
  out: usize,
  gated: i32,
  gateBias: usize,
  upBias: usize,
  activation: i32,
): void {
  const last = rows - 1;
  const r1 = <usize>((min(1, last) * width) << 2),
    r2 = <usize>((min(2, last) * width) << 2),
    r3 = <usize>((min(3, last) * width) << 2);
  const step: usize = gated ? 32 : 16,
    column: usize = group_of(rows) << 2;
  for (const end = c + (width << 2); c < end && columns > 0; c += step, columns -= 4) {
    let u = f32x4.splat(0),
      g = u;
    if (upBias) {
      u = load_part(upBias, columns);
      upBias += 16;
    }
    if (gateBias) {
      g = load_part(gateBias, columns);
      gateBias += 16;
    }
    const h0 = inner(c, gated, g, u, activation),
      h1 = inner(c + r1, gated, g, u, activation);
    const h2 = inner(c + r2, gated, g, u, activation),
      h3 = inner(c + r3, gated, g, u, activation);
    const t0 = v128.shuffle<f32>(h0, h1, 0, 4, 1, 5),
      t1 = v128.shuffle<f32>(h2, h3, 0, 4, 1, 5);
    const t2 = v128.shuffle<f32>(h0, h1, 2, 6, 3, 7),
      t3 = v128.shuffle<f32>(h2, h3, 2, 6, 3, 7);
    const to1 = out + column,
      to2 = to1 + column,
      to3 = to2 + column;
    v128.store(out, v128.shuffle<f64>(t0, t1, 0, 2));
    v128.store(to1, v128.shuffle<f64>(t0, t1, 1, 3));
    v128.store(to2, v128.shuffle<f64>(t2, t3, 0, 2));
    v128.store(to3, v128.shuffle<f64>(t2, t3, 1, 3));
    if (rows > 4) {
      const h4 = inner(c + <usize>(width << 4), gated, g, u, activation);
      const h5 = inner(c + <usize>((last * width) << 2), gated, g, u, activation);
      const t4 = v128.shuffle<f32>(h4, h5, 0, 4, 1, 5),
        t5 = v128.shuffle<f32>(h4, h5, 2, 6, 3, 7);
      v128.store_lane<f64>(out, t4, 0, 16);
      v128.store_lane<f64>(to1, t4, 1, 16);
      v128.store_lane<f64>(to2, t5, 0, 16);
      v128.store_lane<f64>(to3, t5, 1, 16);
    }
    out = to3 + column;
  }
}

function inner(c: usize, gated: i32, gateBias: v128, upBias: v128, activation: i32): v128 {
  const first = v128.load(c);
  if (!gated) return activated(activation, f32x4.add(first, upBias));
  return f32x4.mul(activated(activation, f32x4.add(first, gateBias)), f32x4.add(v128.load(c, 16), upBias));
}
