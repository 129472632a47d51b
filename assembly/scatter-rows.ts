import { madd } from './simd';

/** x[rows[i]] += gate[i] * (y[i] - x[rows[i]]), without a gate x[rows[i]] = y[i]. x [T, D], rows [R], y [R, D], gate [R] or 0. */
export function scatter_rows(x: usize, rows: usize, y: usize, gate: usize, R: i32, D: i32): void {
  const bytes = <usize>D << 2;
  for (let i = 0; i < R; i++, y += bytes) {
    const to = x + <usize>load<u32>(rows + (<usize>i << 2)) * bytes;
    if (!gate) {
      memory.copy(to, y, bytes);
      continue;
    }
    const factor = load<f32>(gate + (<usize>i << 2));
    const splat = f32x4.splat(factor);
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) {
      const old = v128.load(to + at);
      v128.store(to + at, madd(splat, f32x4.sub(v128.load(y + at), old), old));
    }
    for (; at < bytes; at += 4) {
      const old = load<f32>(to + at);
      store<f32>(to + at, f32x4.extract_lane(madd(splat, f32x4.splat(load<f32>(y + at) - old), f32x4.splat(old)), 0));
    }
  }
}
