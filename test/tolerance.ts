/**
 * How far two correct f32 evaluations of a formula may be apart. `n` is the length of the longest sum that one output goes
 * through, times the number of such sums in a row: independent rounding errors add up like the square root. The
 * absolute part is scaled to the output, so that elements in which terms cancel do not fail.
 */
import type { Tolerance } from './harness.ts';

export function relativeTolerance(n: number): number {
  return Math.max(4e-6, 8 * 2 ** -23 * Math.sqrt(n));
}

/** `scale`: typical size of the terms of a sum, where the output is too short for its median to tell. */
export function tolerance(n: number, expected: Float32Array, scale = 0.25): Tolerance {
  const rtol = relativeTolerance(n);
  return { rtol, atol: rtol * Math.max(median(expected), scale) };
}

function median(values: Float32Array): number {
  const finite = values.map(Math.abs).filter(Number.isFinite).sort();
  return finite.length ? finite[finite.length >> 1]! : 0;
}
