import { narrow_f16 } from './f16-rows';

/** Rows [at, at + n) of `to` become `from`, in each of A planes. from [A, n, W], to [A, C, W]. */
export function append_kv(from: usize, to: usize, A: i32, n: i32, C: i32, W: i32, at: i32): void {
  const bytes = n * W << 2;
  to += at * W << 2;
  for (let a = 0; a < A; a++, from += bytes, to += C * W << 2) memory.copy(to, from, bytes);
}

/** append_kv into a cache of f16, to nearest even. */
export function append_kv_f16(from: usize, to: usize, A: i32, n: i32, C: i32, W: i32, at: i32): void {
  to += at * W << 1;
  for (let a = 0; a < A; a++, from += n * W << 2, to += C * W << 1) narrow_f16(to, from, n * W);
}
