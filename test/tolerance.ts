/**
 * How far two correct f32 evaluations of a formula may be apart. `n` is the length of the longest sum that one output goes
 * through, times the number of such sums in a row: independent rounding errors add up like the square root. The
 * absolute part is scaled to the output, so that elements in which terms cancel do not fail.
 */
import type { WeightDType } from '../src/backend/weight.ts';
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

/**
 * Standard deviation of the error of a product of normal numbers over that of the product. Codes of n levels up to the
 * largest of the numbers, 3.5 deviations, are off by 3.5 / n / sqrt(12): 0.008 for 127 levels, 0.016 for 63. q8: both
 * operands and the reference's own 8 bits; q4: the row operand only, as the reference has the same codes of the weight.
 */
const PRODUCT_ERROR = { q8: 0.02, q4: 0.008 } as const;

/** For operands of deviation 1 and products of deviation 1: six deviations of the error. undefined for float weights. */
export function quantizedTolerance(dtype: WeightDType = 'f32', products = 1): Tolerance | undefined {
  if (dtype === 'f32' || dtype === 'f16') return undefined;
  return { rtol: 0, atol: 6 * Math.sqrt(products) * PRODUCT_ERROR[dtype] };
}
