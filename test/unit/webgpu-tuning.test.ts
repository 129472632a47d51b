/** Shapes of the matrix products on WebGPU, and how the fastest are found. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { dot } from '../../src/ops/dot.ts';
import { linear } from '../../src/ops/linear.ts';
import { FEW_SHAPES, TILE_SHAPES, tuneWebGpu } from '../../src/ops/product/tune-webgpu.ts';
import { driverIsChosen, installedAdapters, nodeGpu } from '../gpu.ts';

const adapters = driverIsChosen ? [undefined] : installedAdapters();
if (adapters.length === 0) test.skip('no Vulkan driver here: build/setup-gpu.sh installs one');

describe.each(adapters)('products on %s', (name) => {
  let gpu: GPU;
  beforeAll(async () => {
    gpu = await nodeGpu(name);
  });

  test('tuning ends in time, says what it did, and changes no result', async () => {
    await using tuned = await createWebGpuBackend({ gpu });
    const matrix = (rows: number, columns: number) => Float32Array.from({ length: rows * columns }, (_, i) => ((i * 31) % 17) / 17 - 0.5);
    const results = async (target: Backend) => {
      using weight = await target.pack({ data: matrix(70, 40), shape: [70, 40] });
      const all = [];
      for (const T of [1, 5, 40, 100]) {
        using x = target.upload(matrix(T, 40), [T, 40]);
        using y = target.empty({ dtype: 'f32', shape: [T, 70] });
        target.run(linear, { x, weight, y }, {});
        all.push(...(await target.read(y)));
      }
      return all;
    };
    const before = await results(tuned);
    const { tensors, weights } = tuned.memory();
    const hasty = await tuneWebGpu(tuned, { budgetMs: 0 });
    expect(hasty.reasons).toContain('many rows: no time left');
    const timed = expect.stringMatching(/^few rows, .*: \d+\.\d\d of the time without tuning$/);
    let { shapes, reasons } = await tuneWebGpu(tuned);
    for (let budgetMs = 2000; !reasons.some((reason) => timed.asymmetricMatch(reason)); budgetMs *= 2)
      ({ shapes, reasons } = await tuneWebGpu(tuned, { budgetMs }));
    expect(reasons).not.toContainEqual(expect.stringMatching(/other results|does not compile/));
    expect(tuned.memory()).toMatchObject({ tensors, weights });
    expect(tuned.description).toContain(', tuned: ');
    const after = await results(tuned);
    for (const [i, value] of after.entries()) expect(value).toBeCloseTo(before[i]!, 4);

    await using again = await createWebGpuBackend({ gpu, tuning: { shapes } });
    expect(again.description).toBe(tuned.description);
    expect(await results(again)).toEqual(after);
    await expect(tuneWebGpu(createReferenceBackend())).rejects.toMatchObject({ code: 'wrong-backend' });
  });

  test.each(FEW_SHAPES)('a product of one row with %j', async (few) => {
    await using shaped = await createWebGpuBackend({ gpu, tuning: { shapes: { few } } });
    await expectProduct(shaped, 1);
  });

  test.each(TILE_SHAPES)('a product of many rows with %j', async (tile) => {
    await using shaped = await createWebGpuBackend({ gpu, tuning: { shapes: { some: tile, many: tile } } });
    for (const T of [40, 300]) await expectProduct(shaped, T);
  });

  async function expectProduct(target: Backend, T: number): Promise<void> {
    const [N, K] = [530, 36];
    const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => ((i * 31) % 17) / 17 - 0.5);
    const [x, w] = [numbers(T * K), numbers(N * K)];
    using weight = await target.pack({ data: w, shape: [N, K] });
    using input = target.upload(x, [T, K]);
    using y = target.empty({ dtype: 'f32', shape: [T, N] });
    target.run(linear, { x: input, weight, y }, {});
    const result = await target.read(y);
    let worst = 0;
    for (let t = 0; t < T; t++) {
      for (let n = 0; n < N; n++) worst = Math.max(worst, Math.abs(result[t * N + n]! - dot(x, t * K, w, n * K, K)));
    }
    expect(worst).toBeLessThan(1e-5);
  }
});
