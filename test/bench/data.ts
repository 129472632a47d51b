/** Inputs of the tables, and how results are compared. */
import { Random } from '../random.ts';
import type { FfnMatrices } from './onnx.ts';

/** Tokens, hidden, inner. */
export type FfnShape = readonly [number, number, number];

export interface FfnData extends FfnMatrices {
  tokens: number;
  hidden: number;
  inner: number;
  /** [tokens, hidden] */
  input: Float32Array;
}

/** Small: x grows by the result of every call, and must stay an ordinary number over thousands of them. */
const RESULT = 1e-3;

export function ffnData([tokens, hidden, inner]: FfnShape): FfnData {
  const random = new Random(tokens + hidden + inner);
  return {
    tokens,
    hidden,
    inner,
    gate: uniform(random, inner * hidden, 2 / Math.sqrt(hidden)),
    up: uniform(random, inner * hidden, 2 / Math.sqrt(hidden)),
    down: uniform(random, hidden * inner, RESULT / Math.sqrt(inner)),
    input: uniform(random, tokens * hidden, 1),
  };
}

export function ffnFlops({ tokens, hidden, inner }: FfnData): number {
  return 6 * tokens * hidden * inner;
}

export function uniform(random: Random, length: number, scale: number): Float32Array<ArrayBuffer> {
  const data = new Float32Array(length);
  for (let i = 0; i < length; i++) data[i] = scale * (2 * random.unit() - 1);
  return data;
}

/** `count` of `total` rows, ascending, in runs of `run`. */
export function someRows(random: Random, count: number, total: number, run = 1): Uint32Array {
  const runs = random
    .permutation(total / run)
    .slice(0, count / run)
    .sort();
  return Uint32Array.from({ length: count }, (_, i) => runs[Math.floor(i / run)]! * run + (i % run));
}

/** Largest difference over the largest value. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  let peak = 0;
  for (let i = 0; i < b.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (!(d <= largest)) largest = d; // NaN counts
    peak = Math.max(peak, Math.abs(b[i]!));
  }
  return largest / peak;
}

/** Root mean square of the difference over that of the values. */
export function rmsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let squares = 0;
  let total = 0;
  for (let i = 0; i < b.length; i++) {
    squares += (a[i]! - b[i]!) ** 2;
    total += b[i]! ** 2;
  }
  return Math.sqrt(squares / total);
}

/** 1e6 operations a millisecond. */
export function giga(operations: number, ms: number): number {
  return operations / ms / 1e6;
}
