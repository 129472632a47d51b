/** Bytes from which memory.copy beats a loop of vectors: an engine call costs some 10 ns. */
const COPY_BYTES: u32 = 512;

/**
 * Row keep[i] of `from` becomes row i of `to`, in each of A planes. from [A, S, W], to [A, U, W], keep [R] ascending.
 * A number of a row is 32 bits: one f32 or two f16. `from` and `to` may be the same memory if U = S: keep[i] >= i, so a row is read before it is overwritten.
 */
export function compact_kv(from: usize, to: usize, keep: usize, A: i32, S: i32, U: i32, W: i32, R: i32): void {
  const bytes = W << 2;
  for (let a = 0; a < A; a++, from += S * bytes, to += U * bytes) copy_rows(from, to, keep, R, bytes);
}

/** Row list[i] of `from` becomes row i of `to`. Rows that follow one another move as one run. */
export function copy_rows(from: usize, to: usize, list: usize, n: i32, rowBytes: i32): void {
  for (const end = list + (n << 2); list < end; ) {
    const first = load<u32>(list);
    let count = 1;
    for (list += 4; list < end && load<u32>(list) == first + count; list += 4) count++;
    const bytes: u32 = count * rowBytes;
    move(to, from + first * rowBytes, bytes);
    to += bytes;
  }
}

/** Copies a multiple of four bytes to a lower or distant address. */
function move(to: usize, from: usize, bytes: u32): void {
  if (to == from) return;
  if (bytes >= COPY_BYTES) {
    memory.copy(to, from, bytes);
    return;
  }
  const end = to + bytes;
  for (; to + 16 <= end; to += 16, from += 16) v128.store(to, v128.load(from));
  for (; to < end; to += 4, from += 4) store<u32>(to, load<u32>(from));
}
