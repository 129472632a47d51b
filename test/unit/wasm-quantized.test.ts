/** Integer products on the wasm backend: exact where the codes are, and within their error bound where they are not. */
import { describe, expect, test } from 'vitest';
import { meaningOfQ4 } from '../../src/backend/quantize.ts';
import type { TileRows, WasmVariant } from '../../src/backend/wasm/binary.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import type { WeightDType, WeightSource } from '../../src/backend/weight.ts';
import { readerOf } from '../../src/backend/weight-source.ts';
import { linear } from '../../src/ops/linear.ts';
import { Random } from '../random.ts';

interface Product {
  variant: WasmVariant;
  tileRows?: TileRows;
  dtype: WeightDType;
  x: Float32Array;
  source: WeightSource;
  size: readonly [T: number, K: number, N: number];
}

async function multiply({ variant, tileRows = 6, dtype, x, source, size: [T, K, N] }: Product): Promise<Float32Array> {
  await using backend = await createWasmBackend({ variant, tileRows });
  const y = backend.empty({ dtype: 'f32', shape: [T, N] });
  backend.run(linear, { x: backend.upload(x, [T, K]), weight: await backend.pack(source, { dtype }), y }, {});
  return await backend.read(y);
}

/** sum over k of term(x[t][k], w[n][k], k), as [T, N] in f64. */
function sums(
  x: Float32Array,
  w: Float32Array,
  [T, K, N]: Product['size'],
  term = (a: number, b: number, _t: number, _n: number, _k: number) => a * b,
): Float64Array {
  return Float64Array.from({ length: T * N }, (_, i) => {
    const [t, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k++) sum += term(x[t * K + k]!, w[n * K + k]!, t, n, k);
    return sum;
  });
}

/** Integers of -most to most; `end` in every block of 32, so that a scale of 1 follows. */
function integers(random: Random, rows: number, K: number, most: number, end = most): Float32Array {
  return Float32Array.from({ length: rows * K }, (_, i) => ((i % K) % 32 === 0 ? end : random.below(2 * most + 1) - most));
}

const ROWS = [1, 2, 3, 4, 5, 6, 7, 11, 13];
const cases = (['simd128', 'relaxed'] as const).flatMap((variant) => ([4, 6] as const).map((tileRows) => ({ variant, tileRows })));

describe.each(cases)('$variant, tiles of $tileRows rows', ({ variant, tileRows }) => {
  const levels = variant === 'relaxed' ? 63 : 127;

  test.each(ROWS)('q8 of integers is exact, %i rows', async (T) => {
    const random = new Random(T);
    for (const [K, N] of [
      [40, 100],
      [300, 35],
      [1, 8],
    ] as const) {
      const [x, w] = [integers(random, T, K, 127), integers(random, N, K, levels)];
      const y = await multiply({ variant, tileRows, dtype: 'q8', x, source: { data: w, shape: [N, K] }, size: [T, K, N] });
      expect(y).toEqual(Float32Array.from(sums(x, w, [T, K, N])));
    }
  });

  test.each(ROWS)('q4 of integers is exact, %i rows', async (T) => {
    const random = new Random(T);
    for (const [K, N] of [
      [40, 100],
      [320, 35],
    ] as const) {
      const [x, w] = [integers(random, T, K, 127), integers(random, N, K, 7, -8)];
      const y = await multiply({ variant, tileRows, dtype: 'q4', x, source: { data: w, shape: [N, K] }, size: [T, K, N] });
      expect(y).toEqual(Float32Array.from(sums(x, w, [T, K, N])));
    }
  });

  test.each(ROWS)('MatMulNBits with all scales and zero points is exact, %i rows', async (T) => {
    const random = new Random(T);
    for (const [K, N] of [
      [96, 100],
      [160, 35],
    ] as const) {
      const x = integers(random, T, K, 127);
      const source = {
        format: 'matmul_nbits',
        data: Uint8Array.from({ length: (N * K) / 2 }, () => random.below(256)),
        scales: Float32Array.from({ length: (N * K) / 32 }, () => 2 ** (random.below(4) - 6)),
        zeroPoints: Uint8Array.from({ length: N * Math.ceil(K / 64) }, () => random.below(256)),
        shape: [N, K],
      } as const;
      const w = meaningOfQ4(readerOf(source).q4(0, N), N, K);
      const y = await multiply({ variant, tileRows, dtype: 'q4', x, source, size: [T, K, N] });
      expect(y).toEqual(Float32Array.from(sums(x, w, [T, K, N])));
    }
  });
});

/** Half a step of the scales: no code is further off. */
describe.each(['simd128', 'relaxed'] as const)('%s', (variant) => {
  const levels = variant === 'relaxed' ? 63 : 127;
  const most = (array: Float32Array) => array.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

  test.each([
    [1, 576, 40],
    [5, 70, 33],
    [9, 1000, 12],
  ] as const)('q8, %i x %i x %i: within half a step of both scales', async (T, K, N) => {
    const random = new Random(K);
    const [x, w] = [random.normal(T * K), random.normal(N * K, 0.1)];
    const y = await multiply({ variant, dtype: 'q8', x, source: { data: w, shape: [N, K] }, size: [T, K, N] });
    const stepX = Float64Array.from({ length: T }, (_, t) => most(x.subarray(t * K, (t + 1) * K)) / 254);
    const stepW = Float64Array.from({ length: N }, (_, n) => most(w.subarray(n * K, (n + 1) * K)) / (2 * levels));
    const bound = sums(x, w, [T, K, N], (a, b, t, n) => Math.abs(b) * stepX[t]! + (Math.abs(a) + stepX[t]!) * stepW[n]!);
    expectWithin(y, sums(x, w, [T, K, N]), bound);
  });

  test.each([
    [1, 576, 40],
    [5, 70, 33],
    [9, 1000, 12],
  ] as const)('q4, %i x %i x %i: within half a step of the scale of 32 columns', async (T, K, N) => {
    const random = new Random(K);
    const x = random.normal(T * K);
    const data = random.normal(N * K, 0.1);
    const w = meaningOfQ4(readerOf({ data, shape: [N, K] }).q4(0, N), N, K);
    const y = await multiply({ variant, dtype: 'q4', x, source: { data, shape: [N, K] }, size: [T, K, N] });
    const blocks = Math.ceil(K / 32);
    const step = Float64Array.from({ length: T * blocks }, (_, i) => {
      const from = Math.floor(i / blocks) * K;
      return most(x.subarray(from + (i % blocks) * 32, from + Math.min(K, (i % blocks) * 32 + 32))) / 254;
    });
    const bound = sums(x, w, [T, K, N], (_, b, t, _n, k) => Math.abs(b) * step[t * blocks + (k >> 5)]!);
    expectWithin(y, sums(x, w, [T, K, N]), bound);
  });
});

/** f32 arithmetic on top of a bound: a few parts in 10^5. */
function expectWithin(actual: Float32Array, expected: Float64Array, bound: Float64Array): void {
  for (const [i, value] of actual.entries()) expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(bound[i]! * 1.00005 + 1e-6);
}
