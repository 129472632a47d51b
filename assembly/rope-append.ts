/** Copies `count` runs of `bytes`, which lie `fromStride` and `toStride` bytes apart: keys or values out of rows that hold both. */
export function copy_runs(from: usize, fromStride: usize, to: usize, toStride: usize, bytes: usize, count: i32): void {
  for (let i = 0; i < count; i++, from += fromStride, to += toStride) memory.copy(to, from, bytes);
}
