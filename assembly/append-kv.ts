import { narrow_f16 } from './f16-rows';

/**
 * Copies `count` runs of n f32, which lie fromStride and toStride bytes apart: new rows into the planes of a cache, or keys or values out
 * of rows that hold both. With `half` as f16, to nearest even.
 */
export function copy_runs(from: usize, to: usize, fromStride: usize, toStride: usize, n: i32, count: i32, half: i32): void {
  for (let i = 0; i < count; i++, from += fromStride, to += toStride) {
    if (half) narrow_f16(to, from, n);
    else memory.copy(to, from, n << 2);
  }
}
