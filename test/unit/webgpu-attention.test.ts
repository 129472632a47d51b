/** The tiled kernel, which software adapters do not take by themselves, against the reference backend, with each of its tiles. */
import { describe, expect, test } from 'vitest';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import type { GpuContext } from '../../src/backend/webgpu/binding.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { attention } from '../../src/ops/attention.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';
import { Random } from '../random.ts';
import { compareRow } from '../suites/ops.ts';
import { attentionRow } from '../table/attention.ts';

/** As on a GPU, with NY invocations down in a workgroup, or as many as the op chooses; `used` counts those of each tile. */
function forced(used: Map<number, number>, NY?: number): typeof attention {
  const on = (gpu: GpuContext): GpuContext => ({
    ...gpu,
    features: new Set([...gpu.features].filter((feature) => feature !== 'software-adapter')),
    dispatch(kernel, operands, params, workgroups, constants = {}) {
      if (kernel.name !== 'attention') return gpu.dispatch(kernel, operands, params, workgroups, constants);
      const chosen = NY ?? constants.NY!;
      used.set(chosen, (used.get(chosen) ?? 0) + 1);
      const [rows, heads, kvHeads, headDim] = params as number[];
      const tiles = Math.ceil((rows! * heads!) / kvHeads! / (4 * chosen));
      gpu.dispatch(kernel, operands, params, [tiles * kvHeads! * Math.ceil(headDim! / 128)], { ...constants, NY: chosen });
    },
  });
  return { ...attention, webgpu: (gpu, io, dims, attrs) => attention.webgpu(on(gpu), io, dims, attrs) };
}

describe.each(installedAdapters())('attention by tiles on %s', (adapter) => {
  test.each([undefined, 8, 16])('%s invocations down', { timeout: 120_000 }, async (NY) => {
    await using reference = createReferenceBackend();
    await using backend = await createWebGpuBackend({ gpu: await nodeGpu(adapter) });
    const used = new Map<number, number>();
    await compareRow({ ...attentionRow, op: forced(used, NY) }, backend, reference);
    expect(used.get(NY ?? 4)).toBeGreaterThan(20);
  });

  // 70 rows of 64 heads and 2000 keys have 36 MB of weights, which software adapters store 16 MiB at a time.
  test('more query rows than there is room for weights', { timeout: 120_000 }, async () => {
    await using reference = createReferenceBackend();
    await using backend = await createWebGpuBackend({ gpu: await nodeGpu(adapter) });
    expect(backend.features).toContain('software-adapter');
    const [T, S, H, dh] = [70, 2000, 64, 4];
    const random = new Random(7);
    const [q, k, v] = [T * H * dh, S * dh, S * dh].map((length) => random.normal(length!)) as [Float32Array, Float32Array, Float32Array];
    const results = [];
    for (const each of [reference, backend]) {
      const o = each.empty({ dtype: 'f32', shape: [T, H, dh] });
      const positions = (count: number, first: number) => each.upload(Uint32Array.from({ length: count }, (_, i) => first + i));
      each.run(
        attention,
        {
          q: each.upload(q, [T, H, dh]),
          k: each.upload(k, [S, 1, dh]),
          v: each.upload(v, [S, 1, dh]),
          qPositions: positions(T, S - T),
          kPositions: positions(S, 0),
          o,
        },
        { scale: 0.5, causal: true },
      );
      results.push(await each.read(o));
    }
    const [expected, got] = results as [Float32Array, Float32Array];
    expect(Math.max(...got.map((value, i) => Math.abs(value - expected[i]!)))).toBeLessThan(1e-5);
  });
});
