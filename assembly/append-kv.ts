/** Rows [at, at + n) of `to` become `from`, in each of A planes. from [A, n, W], to [A, C, W]. */
export function append_kv(from: usize, to: usize, A: i32, n: i32, C: i32, W: i32, at: i32): void {
  const bytes = n * W << 2;
  to += at * W << 2;
  for (let a = 0; a < A; a++, from += bytes, to += C * W << 2) memory.copy(to, from, bytes);
}
