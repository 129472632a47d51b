/** Integer products on the wasm backend: exact where the codes are, and within their error bound where they are not. */
import { describe, expect, test } from 'vitest';
import { meaningOfQ4, q4Of } from '../../src/backend/quantize.ts';
import type { TileRows, WasmVariant } from '../../src/backend/wasm/binary.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import type { WeightDType, WeightSource } from '../../src/backend/weight.ts';
import { readerOf } from '../../src/backend/weight-source.ts';
import { linear } from '../../src/ops/linear.ts';
import { Random } from '../random.ts';
import { integers, matmulNbits, type Size, sums } from './exact-products.ts';

interface Product {
  variant: WasmVariant;
  tileRows?: TileRows;
  dtype: WeightDType;
  x: Float32Array;
  source: WeightSource;
  size: Size;
}

async function multiply({ variant, tileRows = 6, dtype, x, source, size: [T, K, N] }: Product): Promise<Float32Array> {
  await using backend = await createWasmBackend({ variant, tileRows });
  const y = backend.empty({ dtype: 'f32', shape: [T, N] });
  backend.run(linear, { x: backend.upload(x, [T, K]), weight: await backend.pack(source, { dtype }), y }, {});
  return await backend.read(y);
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
      const source = matmulNbits(random, N, K);
      const w = meaningOfQ4(q4Of(await readerOf(source), 0, N), N, K);
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
    const w = meaningOfQ4(q4Of(await readerOf({ data, shape: [N, K] }), 0, N), N, K);
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
