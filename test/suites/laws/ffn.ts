/** An FFN with random weights, for laws about row lists. */
import type { Backend } from '../../../src/backend/backend.ts';
import { gatheredFfn } from '../../../src/ops/index.ts';
import { apply, f32, matrix, pair, type Values } from '../../operands.ts';
import type { Random } from '../../random.ts';

export const FFN = { activation: 'silu', norm: 'rms', eps: 1e-5 } as const;

/** An FFN over 19 rows of 20, with 36 inner channels. */
export function ffnOperands(random: Random): Values & { x: { f32: Float32Array<ArrayBuffer>; shape: readonly number[] } } {
  const [T, D, M] = [19, 20, 36];
  return {
    x: { f32: random.normal(T * D), shape: [T, D] },
    normWeight: f32(random.normal(D, 0.2, 1), D),
    up: pair(random.normal(M * D, 0.2), random.normal(M * D, 0.2), M, D),
    down: matrix(random.normal(D * M, 0.2), D, M),
  };
}

export async function ffn(backend: Backend, values: Values): Promise<Float32Array> {
  return (await apply(backend, gatheredFfn, values, FFN)).x as Float32Array;
}

/** Rows of a matrix, in the order of a list. */
export function take(data: Float32Array, width: number, rows: ArrayLike<number>): Float32Array {
  const taken = new Float32Array(rows.length * width);
  for (let i = 0; i < rows.length; i++) taken.set(data.subarray(rows[i]! * width, (rows[i]! + 1) * width), i * width);
  return taken;
}
