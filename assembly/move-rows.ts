/** Bytes from which memory.copy beats a loop of vectors: an engine call costs some 10 ns. */
const COPY_BYTES: u32 = 512;

/**
 * Row list[i] of `from` becomes row i of `to`; without a list (0) row i does. Bits are moved as they are. `from` and `to` may be the
 * same memory if the list ascends: list[i] >= i, so a row is read before it is overwritten. Rows that follow one another move as one
 * run if there are enough of them for memory.copy. Shorter runs are not looked for: in a scattered list that branch is mispredicted at
 * every other row, which costs as much as to copy 128 bytes.
 */
export function move_rows(from: usize, to: usize, list: usize, n: i32, rowBytes: u32): void {
  if (!list) {
    memory.copy(to, from, n * rowBytes); // `move` has one caller, so that it is inlined: a call for every short row costs a third
    return;
  }
  const reach = max<u32>(COPY_BYTES / max<u32>(rowBytes, 1), 1) - 1;
  for (const end = list + (n << 2); list < end; ) {
    const first = load<u32>(list);
    const last = list + (reach << 2);
    let count = 1;
    if (last < end && load<u32>(last) == first + reach) {
      for (list += 4; list < end && load<u32>(list) == first + count; list += 4) count++;
    } else list += 4;
    const bytes = count * rowBytes;
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
  for (; to + 64 <= end; to += 64, from += 64) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
  }
  for (; to + 16 <= end; to += 16, from += 16) v128.store(to, v128.load(from));
  for (; to < end; to += 4, from += 4) store<u32>(to, load<u32>(from));
}
