import { move_rows } from './move-rows';

/**
 * Row keep[i] of `from` becomes row i of `to`, in each of A planes. from [A, S, W], to [A, U, W], keep [R] ascending.
 * A number of a row is 32 bits: one f32 or two f16. `from` and `to` may be the same memory if U = S: keep[i] >= i, so a row is read before it is overwritten.
 */
export function compact_kv(from: usize, to: usize, keep: usize, A: i32, S: i32, U: i32, W: i32, R: i32): void {
  const bytes = W << 2;
  for (let a = 0; a < A; a++, from += S * bytes, to += U * bytes) move_rows(from, to, keep, R, bytes);
}
