/** How many dispatches and submits the model's steps take on WebGPU: what decides the speed where the work itself is small. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { llamaDecoder } from '../../src/model/families/blocks.ts';
import { Decoder } from '../../src/model/stack/decoder.ts';
import { range } from '../../src/model/stack/rows.ts';
import { loadModel } from '../../src/model/load.ts';
import { gatheredFfn, rmsNorm } from '../../src/ops/index.ts';
import { countGpu, type GpuCounts } from '../count-gpu.ts';
import { nodeGpu } from '../gpu.ts';
import { Random } from '../random.ts';

const gpu = await nodeGpu();
const adapter = await gpu.requestAdapter().catch(() => null);
if (!adapter) process.stdout.write('webgpu-dispatches.test.ts is skipped: no WebGPU adapter (run build/setup-gpu.sh)\n');

const sizes = {
  hiddenSize: 32,
  intermediateSize: 48,
  numLayers: 1,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 8,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  hiddenAct: 'silu',
} as const;

describe.skipIf(!adapter)('dispatches and submits', () => {
  const random = new Random(7);
  const source = {
    has: (name: string) => !name.endsWith('.bias'),
    tensor: (_: string, shape: readonly number[]) =>
      random.normal(
        shape.reduce((a, b) => a * b),
        0.2,
      ),
  };
  let device: GPUDevice;
  let backend: Backend;
  let counts: GpuCounts;

  beforeAll(async () => {
    device = await adapter!.requestDevice();
    counts = countGpu(device);
    backend = await createWebGpuBackend({ gpu, device });
  });
  afterAll(async () => {
    await backend[Symbol.asyncDispose]();
    device.destroy();
  });

  test('a view is bound where it starts, or copied where it may not be, and back', async () => {
    const width = device.limits.minStorageBufferOffsetAlignment / 4;
    const [x, y] = [backend.empty({ dtype: 'f32', shape: [3, width] }), backend.empty({ dtype: 'f32', shape: [4 * width] })];
    const weight = backend.upload(new Float32Array(width));
    const norm = (at: number, to: number) =>
      counted(() => backend.run(rmsNorm, { x: x.view([1, width], at), weight, y: y.view([1, width], to) }, { eps: 1 }));
    for (const [at, to, dispatches] of [
      [0, 0, 1],
      [width, 2 * width, 1],
      [1, width, 2],
      [width, 2, 3],
      [width + 1, width - 1, 4],
    ] as const)
      expect(await norm(at, to), `${at} and ${to} elements in`).toEqual({ dispatches, submits: 1 });
    for (const each of [x, y, weight]) each.dispose();
  });

  /** What `work` asks of the device, its submit included. */
  async function counted(work: () => unknown): Promise<GpuCounts> {
    await backend.flush();
    const before = { ...counts };
    await work();
    await backend.flush();
    return { dispatches: counts.dispatches - before.dispatches, submits: counts.submits - before.submits };
  }

  test.each([
    ['one row', 1, undefined],
    ['few rows', 8, undefined],
    ['many rows', 40, undefined],
    ['few listed rows', 40, 5],
    ['many listed rows', 40, 20],
  ])('a gathered SwiGLU FFN with its RMSNorm takes 2 dispatches: %s', async (_, T, listed) => {
    const [D, M] = [32, 48];
    const matrix = (rows: number, columns: number) => ({ data: random.normal(rows * columns), shape: [rows, columns] as const });
    using x = backend.upload(random.normal(T * D), [T, D]);
    using rows = listed === undefined ? undefined : backend.upload(range(0, listed));
    using normWeight = backend.upload(random.normal(D));
    using up = await backend.pack({ gate: matrix(M, D), up: matrix(M, D) });
    using down = await backend.pack(matrix(D, M));
    const attrs = { activation: 'silu', norm: 'rms', eps: 1e-5 } as const;
    expect(await counted(() => backend.run(gatheredFfn, { x, rows, normWeight, up, down }, attrs))).toEqual({ dispatches: 2, submits: 1 });
    await backend.read(x);
  });

  test('a flush submits before it first waits, once its kernels are compiled', async () => {
    using x = backend.upload(random.normal(32), [2, 16]);
    using weight = backend.upload(random.normal(16));
    using y = backend.empty({ dtype: 'f32', shape: [2, 16] });
    const norm = () => backend.run(rmsNorm, { x, weight, y }, { eps: 1e-5 });
    await counted(norm); // compiles
    norm();
    const { submits } = counts;
    const flushed = backend.flush();
    expect(counts.submits - submits).toBe(1);
    await flushed;
  });

  /** A decode step of a decoder of random weights over a prompt. */
  async function decodeStep(numLayers: number, promptRows: number): Promise<GpuCounts> {
    using decoder = await Decoder.load(backend, source, llamaDecoder({ ...sizes, numLayers }), '');
    using cache = decoder.makeCache({ capacity: promptRows + 1 });
    const x = backend.upload(random.normal(promptRows * 32), [promptRows, 32]);
    const { hidden } = await decoder.prefill({ x, rows: { order: range(0, promptRows), segments: [] } }, { cache });
    using _hidden = hidden;
    await backend.read(hidden);
    using row = backend.upload(random.normal(32), [1, 32]);
    return await counted(async () => {
      using next = await decoder.decode(row, cache);
      await backend.read(next);
    });
  }

  test('a decoder layer takes 7 dispatches to decode a token, 8 over a long cache', async () => {
    for (const [promptRows, perLayer] of [
      [20, 7],
      [600, 8],
    ] as const) {
      const [one, three] = [await decodeStep(1, promptRows), await decodeStep(3, promptRows)];
      expect(three.dispatches - one.dispatches).toBe(2 * perLayer);
    }
  });

  test('a decode step submits at most twice, however many layers it has', async () => {
    expect((await decodeStep(4, 20)).submits).toBe(1);
    expect((await decodeStep(64, 20)).submits).toBe(2);
  });

  test('a token of the tiny model: one submit from one to the next', async () => {
    using model = await loadModel('examples/tiny-vlm/skip', { backend });
    const seen: GpuCounts[] = [];
    const onToken = () => seen.push({ ...counts });
    await model.generate({ image: 'examples/tiny-vlm/eval/028.png', question: 'describe', maxTokens: 6, onToken });
    const steps = seen.slice(1).map((now, i) => now.submits - seen[i]!.submits);
    expect(steps).toEqual([1, 1, 1, 1, 1]);
    const dispatches = seen.slice(1).map((now, i) => now.dispatches - seen[i]!.dispatches);
    // 4 layers of 7; embedding, a copy of it, the last norm, the vocabulary and the choice
    expect(dispatches).toEqual([33, 33, 33, 33, 33]);
  });
});
