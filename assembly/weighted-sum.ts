import { madd } from './simd';

/** o[0..4 * vectors) += sum over keys of p[key] * v[key]; p runs up to end, rows of v are `stride` bytes apart. */
// @ts-ignore: decorator
@inline
function columns_1(o: usize, p: usize, end: usize, v: usize, stride: usize, vectors: i32): void {
  let a0 = v128.load(o), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
  if (vectors > 1) a1 = v128.load(o, 16);
  if (vectors > 2) a2 = v128.load(o, 32), a3 = v128.load(o, 48);
  if (vectors > 4) a4 = v128.load(o, 64), a5 = v128.load(o, 80), a6 = v128.load(o, 96), a7 = v128.load(o, 112);
  for (; p < end; p += 4, v += stride) {
    if (load<f32>(p) == 0) continue; // 0 * infinity must not count
    const x = v128.load32_splat(p);
    a0 = madd(x, v128.load(v), a0);
    if (vectors > 1) a1 = madd(x, v128.load(v, 16), a1);
    if (vectors > 2) a2 = madd(x, v128.load(v, 32), a2), a3 = madd(x, v128.load(v, 48), a3);
    if (vectors > 4) a4 = madd(x, v128.load(v, 64), a4), a5 = madd(x, v128.load(v, 80), a5);
    if (vectors > 4) a6 = madd(x, v128.load(v, 96), a6), a7 = madd(x, v128.load(v, 112), a7);
  }
  v128.store(o, a0);
  if (vectors > 1) v128.store(o, a1, 16);
  if (vectors > 2) v128.store(o, a2, 32), v128.store(o, a3, 48);
  if (vectors > 4) v128.store(o, a4, 64), v128.store(o, a5, 80), v128.store(o, a6, 96), v128.store(o, a7, 112);
}

/** o[0..n) += sum over keys of p[key] * v[key], in order of the keys. Those with p = 0 are skipped, whatever v holds. */
export function weigh_1(o: usize, p: usize, end: usize, v: usize, stride: usize, n: i32): void {
  const stop = o + (n << 2);
  for (; o + 128 <= stop; o += 128, v += 128) columns_1(o, p, end, v, stride, 8);
  for (; o + 64 <= stop; o += 64, v += 64) columns_1(o, p, end, v, stride, 4);
  for (; o + 32 <= stop; o += 32, v += 32) columns_1(o, p, end, v, stride, 2);
  for (; o + 16 <= stop; o += 16, v += 16) columns_1(o, p, end, v, stride, 1);
  for (; o < stop; o += 4, v += 4) {
    let sum = v128.load32_zero(o);
    for (let x = p, y = v; x < end; x += 4, y += stride) {
      if (load<f32>(x) != 0) sum = madd(v128.load32_zero(x), v128.load32_zero(y), sum);
    }
    v128.store32_lane(o, sum, 0);
  }
}

/** columns_1 for two rows, without the test for zeros. `second` is the distance from one row of p to the other. */
// @ts-ignore: decorator
@inline
function columns_2(o0: usize, o1: usize, p: usize, end: usize, second: usize, v: usize, stride: usize, vectors: i32): void {
  let a0 = v128.load(o0), b0 = v128.load(o1), a1 = a0, b1 = a0, a2 = a0, b2 = a0, a3 = a0, b3 = a0;
  if (vectors > 1) a1 = v128.load(o0, 16), b1 = v128.load(o1, 16);
  if (vectors > 2) a2 = v128.load(o0, 32), b2 = v128.load(o1, 32), a3 = v128.load(o0, 48), b3 = v128.load(o1, 48);
  for (; p < end; p += 4, v += stride) {
    const x = v128.load32_splat(p), y = v128.load32_splat(p + second);
    let w = v128.load(v);
    a0 = madd(x, w, a0), b0 = madd(y, w, b0);
    if (vectors > 1) w = v128.load(v, 16), a1 = madd(x, w, a1), b1 = madd(y, w, b1);
    if (vectors > 2) w = v128.load(v, 32), a2 = madd(x, w, a2), b2 = madd(y, w, b2);
    if (vectors > 2) w = v128.load(v, 48), a3 = madd(x, w, a3), b3 = madd(y, w, b3);
  }
  v128.store(o0, a0), v128.store(o1, b0);
  if (vectors > 1) v128.store(o0, a1, 16), v128.store(o1, b1, 16);
  if (vectors > 2) v128.store(o0, a2, 32), v128.store(o1, b2, 32), v128.store(o0, a3, 48), v128.store(o1, b3, 48);
}

/** weigh_1 for two rows of positive weights, to the bit. */
export function weigh_2(o0: usize, o1: usize, p: usize, end: usize, second: usize, v: usize, stride: usize, n: i32): void {
  const stop = o0 + (n << 2);
  for (; o0 + 64 <= stop; o0 += 64, o1 += 64, v += 64) columns_2(o0, o1, p, end, second, v, stride, 4);
  for (; o0 + 32 <= stop; o0 += 32, o1 += 32, v += 32) columns_2(o0, o1, p, end, second, v, stride, 2);
  for (; o0 + 16 <= stop; o0 += 16, o1 += 16, v += 16) columns_2(o0, o1, p, end, second, v, stride, 1);
  const rest = <i32>(stop - o0) >> 2;
  weigh_1(o0, p, end, v, stride, rest);
  weigh_1(o1, p + second, end + second, v, stride, rest);
}

/** o += x; o, x [n]. */
export function add_row(o: usize, x: usize, n: i32): void {
  const end = o + (n << 2);
  for (; o + 16 <= end; o += 16, x += 16) v128.store(o, f32x4.add(v128.load(o), v128.load(x)));
  for (; o < end; o += 4, x += 4) store<f32>(o, load<f32>(o) + load<f32>(x));
}
