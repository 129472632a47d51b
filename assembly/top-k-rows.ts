/** Bytes of scratch for top_k_rows: a histogram of 256 numbers, and a key to each row. */
export function top_k_rows_scratch_bytes(N: i32): f64 {
  return 1024 + 4 * <f64>N;
}

/**
 * rows = the k best of the rows that are not forced, and all forced ones, ascending. Larger scores first, equal ones (-0
 * and 0 too) by lower index; NaN ranks with -infinity. scores [N]; ranges [rangeCount] of (start, end), forced rows.
 * A radix select finds the k-th best key, a second scan writes what is above it in order.
 */
export function top_k_rows(scores: usize, rows: usize, N: i32, k: i32, ranges: usize, rangeCount: i32, scratch: usize): void {
  const histogram = scratch, keys = scratch + 1024, end = keys + (N << 2);
  for (let x = keys; x < end; x += 4, scores += 4) store<u32>(x, sort_key(load<f32>(scores)));
  for (const last = ranges + (rangeCount << 3); ranges < last; ranges += 8) {
    memory.fill(keys + (load<u32>(ranges) << 2), 0, (load<u32>(ranges, 4) - load<u32>(ranges)) << 2);
  }
  let threshold: u32 = 0, left = k; // the k-th best key, one byte after the other; `left` of the rows that share what is known are wanted
  for (let shift = 24; shift >= 0 && k > 0; shift -= 8) {
    memory.fill(histogram, 0, 1024);
    for (let x = keys; x < end; x += 4) {
      const key = load<u32>(x);
      if (!key || (shift < 24 && (key ^ threshold) >>> (shift + 8))) continue;
      const bin = histogram + (((key >>> shift) & 255) << 2);
      store<i32>(bin, load<i32>(bin) + 1);
    }
    let digit = 255;
    for (; left > load<i32>(histogram + (digit << 2)); digit--) left -= load<i32>(histogram + (digit << 2));
    threshold |= digit << shift;
  }
  for (let i = 0, x = keys; i < N; i++, x += 4) {
    const key = load<u32>(x);
    if (key) {
      if (k == 0 || key < threshold) continue;
      if (key == threshold && --left < 0) continue;
    }
    store<u32>(rows, i);
    rows += 4;
  }
}

/** A number above 0 that orders as the score does; 0 marks forced rows. */
// @ts-ignore: decorator
@inline
function sort_key(score: f32): u32 {
  if (score != score) score = -Infinity;
  const bits = reinterpret<i32>(score + 0); // -0 + 0 is 0
  return bits < 0 ? ~bits : bits | 0x80000000;
}
