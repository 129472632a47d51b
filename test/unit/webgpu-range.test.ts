/** Norms whose squares leave f32, on every driver: the kernels bring such rows near 1, and leave the others as they are. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import type { WeightDType } from '../../src/backend/weight.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { gatheredFfn, layerNorm, linear, merge, rmsNorm, summary } from '../../src/ops/index.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';
import { Random } from '../random.ts';

const [D, M] = [70, 36];
/** Largest magnitudes of rows, whose eps is 0 where it is small. Squares leave f32 from 1.8e19 on and below 1e-19. */
const LARGE = [1e20, 3, 1e30, 3e37, 1e16];
const SMALL = [1e-25, 3, 1e-30, 1e-22, 1e-18];
const ROWS = [1, 20];

/** Rows of normal numbers that reach the magnitudes by turns. */
function rowsOf(magnitudes: readonly number[], T: number): Float32Array {
  const random = new Random(11);
  const rows = Array.from({ length: T }, (_, t) => {
    const row = random.normal(D);
    const most = row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    return [...row].map((value) => (value / most) * magnitudes[t % magnitudes.length]!);
  });
  return Float32Array.from(rows.flat());
}

const CASES = ROWS.flatMap((T) => [
  { T, name: 'large', magnitudes: LARGE, eps: 1e-5 },
  { T, name: 'small', magnitudes: SMALL, eps: 0 },
]);
const DTYPES: readonly WeightDType[] = ['f32', 'q8'];

describe.each(installedAdapters())('norms over the whole of f32 on %s', (adapter) => {
  const reference = createReferenceBackend();
  let webgpu: Backend;
  beforeAll(async () => {
    webgpu = await createWebGpuBackend({ gpu: await nodeGpu(adapter) });
  });
  afterAll(() => webgpu[Symbol.asyncDispose]());

  /** The results of both, of one size: off by at most `tolerance` of the largest. */
  async function agree(work: (backend: Backend) => Promise<Float32Array>, tolerance = 1e-5): Promise<void> {
    const [expected, got] = [await work(reference), await work(webgpu)];
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(largest).toBeGreaterThan(0.01);
    for (const [i, value] of got.entries()) expect(Math.abs(value - expected[i]!), `element ${i}`).toBeLessThanOrEqual(tolerance * largest);
  }

  const random = new Random(5);
  const [normWeight, normBias, scoreWeight] = [random.normal(D), random.normal(D), random.normal(D)];
  const matrix = (N: number, K: number) => ({ data: random.normal(N * K, K ** -0.5), shape: [N, K] as const });
  const [square, gate, up, down] = [matrix(M, D), matrix(M, D), matrix(M, D), matrix(D, M)];

  test('the numbers of the fault', async () => {
    for (const [op, numbers, eps, expected] of [
      [rmsNorm, [1e20, 2e20, 2e20, 4e20], 1e-5, [0.4, 0.8, 0.8, 1.6]],
      [layerNorm, [1e20, 3e20, 1e20, 3e20], 1e-5, [-1, 1, -1, 1]],
      [rmsNorm, [1e-25, 2e-25, 2e-25, 4e-25], 0, [0.4, 0.8, 0.8, 1.6]],
    ] as const) {
      using x = webgpu.upload(Float32Array.from(numbers), [1, 4]);
      using weight = webgpu.upload(new Float32Array(4).fill(1));
      using y = webgpu.empty({ dtype: 'f32', shape: [1, 4] });
      webgpu.run(op, { x, weight, y }, { eps });
      for (const [i, value] of (await webgpu.read(y)).entries()) expect(value).toBeCloseTo(expected[i]!, 6);
    }
  });

  test.each(CASES)('rms_norm and layer_norm, $T rows, $name', async ({ T, magnitudes, eps }) => {
    for (const op of [rmsNorm, layerNorm]) {
      await agree(async (backend) => {
        using x = backend.upload(rowsOf(magnitudes, T), [T, D]);
        using weight = backend.upload(normWeight);
        using y = backend.empty({ dtype: 'f32', shape: [T, D] });
        backend.run(op, { x, weight, y }, { eps });
        return await backend.read(y);
      });
    }
  });

  test.each(CASES)('the product of normalised rows, $T rows, $name', { timeout: 120_000 }, async ({ T, magnitudes, eps }) => {
    const bounded = magnitudes.map((most) => Math.min(most, 1e34)); // sums of larger numbers may leave f32 themselves
    for (const dtype of DTYPES) {
      await agree(
        async (backend) => {
          using x = backend.upload(rowsOf(bounded, T), [T, D]);
          using weight = await backend.pack(square, { dtype });
          using norm = backend.upload(normWeight);
          using y = backend.empty({ dtype: 'f32', shape: [T, M] });
          backend.run(linear, { x, normWeight: norm, weight, y }, { eps });
          return await backend.read(y);
        },
        dtype === 'f32' ? 1e-5 : 0.02,
      );
    }
  });

  test.each(CASES.flatMap((each) => (['rms', 'layer'] as const).map((norm) => ({ ...each, norm }))))(
    'gathered_ffn with a $norm norm, $T rows, $name',
    { timeout: 120_000 },
    async ({ T, magnitudes, eps, norm }) => {
      const bounded = magnitudes.map((most) => Math.min(most, 1e34));
      for (const dtype of DTYPES) {
        await agree(
          async (backend) => {
            const start = rowsOf(bounded, T);
            using x = backend.upload(start, [T, D]);
            using pair = await backend.pack({ gate, up }, { dtype });
            using out = await backend.pack(down, { dtype });
            using weight = backend.upload(normWeight);
            using bias = norm === 'layer' ? backend.upload(normBias) : undefined;
            // As large as the row, so that it is not lost in the sum.
            const gates = Float32Array.from({ length: T }, (_, t) => bounded[t % bounded.length]!);
            using rowGate = backend.upload(gates);
            const operands = { x, up: pair, down: out, normWeight: weight, normBias: bias, rowGate };
            backend.run(gatheredFfn, operands, { activation: 'silu', norm, eps });
            return (await backend.read(x)).map((value, i) => (value - start[i]!) / gates[Math.floor(i / D)]!);
          },
          dtype === 'f32' ? 1e-5 : 0.02,
        );
      }
    },
  );

  test.each(CASES)('summary, $T tokens, $name', async ({ T, magnitudes, eps }) => {
    await agree(async (backend) => {
      using tokens = backend.upload(rowsOf(magnitudes, T), [T, D]);
      using weight = backend.upload(normWeight);
      using score = backend.upload(scoreWeight.map((value) => value / 8));
      using y = backend.empty({ dtype: 'f32', shape: [1, D] });
      backend.run(summary, { tokens, normWeight: weight, scoreWeight: score, y }, { eps, scoreBias: 0 });
      const values = await backend.read(y);
      const most = Math.max(...magnitudes.slice(0, T));
      return values.map((value) => value / most);
    });
  });

  test.each([LARGE, SMALL])('merge, of magnitudes %d and others', async (...magnitudes) => {
    const T = 20;
    const assigned = async (backend: Backend) => {
      using x = backend.upload(rowsOf(magnitudes, T), [T, D]);
      using y = backend.empty({ dtype: 'f32', shape: [5, D] });
      using destinations = backend.empty({ dtype: 'u32', shape: [5] });
      using assignment = backend.empty({ dtype: 'u32', shape: [T] });
      backend.run(merge, { x, y, destinations, assignment }, {});
      return [await backend.read(destinations), await backend.read(assignment)];
    };
    expect(await assigned(webgpu)).toEqual(await assigned(reference));
  });
});
