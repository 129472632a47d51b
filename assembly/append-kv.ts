import { narrow_f16 } from './f16-rows';

/** Rows [at, at + n) of `to` become `from`, in each of A planes. from [A, n, W]; to [A, C, W], with `half` f16, to nearest even. */
export function append_kv(from: usize, to: usize, A: i32, n: i32, C: i32, W: i32, at: i32, half: i32): void {
  const numbers = n * W, shift = half ? 1 : 2;
  to += at * W << shift;
  for (let a = 0; a < A; a++, from += numbers << 2, to += C * W << shift) {
    if (half) narrow_f16(to, from, numbers);
    else memory.copy(to, from, numbers << 2);
  }
}
