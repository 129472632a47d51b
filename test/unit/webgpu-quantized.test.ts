/** Packed weights on the WebGPU backend: exact where the codes are, within the error bound of int8 rows where they are not. */
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { meaningOfQ4, meaningOfQ8, q4Of, quantizeQ8 } from '../../src/backend/quantize.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { WEIGHT_DTYPES, type WeightDType, type WeightSource } from '../../src/backend/weight.ts';
import { readerOf } from '../../src/backend/weight-source.ts';
import { gatheredFfn } from '../../src/ops/gathered-ffn.ts';
import { linear } from '../../src/ops/linear.ts';
import { nodeGpu } from '../gpu.ts';
import { Random } from '../random.ts';
import { integers, matmulNbits, type Size, sums } from './exact-products.ts';

const gpu = await nodeGpu();
const adapter = await gpu.requestAdapter().catch(() => null);
if (!adapter) process.stdout.write('webgpu-quantized.test.ts is skipped: no WebGPU adapter (run build/setup-gpu.sh)\n');

const products = (...args: Parameters<typeof sums>) => Float32Array.from(sums(...args));

async function multiply(
  backend: Backend,
  dtype: WeightDType,
  x: Float32Array,
  source: WeightSource,
  [T, K, N]: Size,
): Promise<Float32Array> {
  const weight = await backend.pack(source, { dtype });
  using rows = backend.upload(x, [T, K]);
  using y = backend.empty({ dtype: 'f32', shape: [T, N] });
  backend.run(linear, { x: rows, weight, y }, {});
  weight.dispose();
  return await backend.read(y);
}

describe.skipIf(!adapter)('packed weights on WebGPU', () => {
  const opened = createWebGpuBackend({ gpu });
  afterAll(async () => (await opened)[Symbol.asyncDispose]());

  test.each([1, 3, 8, 9, 20, 70])('q8 and q4 of integers are exact, %i rows', async (T) => {
    const random = new Random(T);
    for (const size of [
      [T, 1, 8],
      [T, 40, 100],
      [T, 300, 35],
    ] as const) {
      const [, K, N] = size;
      const x = integers(random, T, K, 127);
      for (const [dtype, w] of [
        ['q8', integers(random, N, K, 127)],
        ['q4', integers(random, N, K, 7, -8)],
      ] as const) {
        expect(await multiply(await opened, dtype, x, { data: w, shape: [N, K] }, size)).toEqual(products(x, w, size));
      }
    }
  });

  test.each([1, 8, 9, 70])('MatMulNBits with all scales and zero points is exact, %i rows', async (T) => {
    const random = new Random(T);
    for (const K of [32, 96, 160]) {
      const N = 100;
      const x = integers(random, T, K, 127);
      const source = matmulNbits(random, N, K);
      const w = meaningOfQ4(q4Of(await readerOf(source), 0, N), N, K);
      expect(await multiply(await opened, 'q4', x, source, [T, K, N])).toEqual(products(x, w, [T, K, N]));
    }
  });

  test.each(['q8', 'q4'] as const)('%s: rows as int8 are off by half a step of their scale of 32 columns', async (dtype) => {
    expect((await opened).features).toContain('integer-dot-product');
    for (const [T, K, N] of [
      [9, 1000, 12],
      [70, 70, 33],
    ] as const) {
      const random = new Random(K);
      const [x, data] = [random.normal(T * K), random.normal(N * K, 0.1)];
      const reader = await readerOf({ data, shape: [N, K] });
      const w = dtype === 'q4' ? meaningOfQ4(q4Of(reader, 0, N), N, K) : meaningOfQ8(quantizeQ8(data, N, K, 127), N, K);
      const y = await multiply(await opened, dtype, x, { data, shape: [N, K] }, [T, K, N]);
      const exact = products(x, w, [T, K, N]);
      let quantized = 0;
      for (const [i, value] of y.entries()) {
        const [t, n] = [Math.floor(i / N), i % N];
        let bound = 1e-6; // of f32 sums
        for (let first = 0; first < K; first += 32) {
          const last = Math.min(K, first + 32);
          const most = x.subarray(t * K + first, t * K + last).reduce((largest, each) => Math.max(largest, Math.abs(each)), 0);
          for (let k = first; k < last; k++) bound += (Math.abs(w[n * K + k]!) * most) / 254;
        }
        expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(bound * 1.00005);
        if (Math.abs(value - exact[i]!) > 1e-4) quantized++;
      }
      expect(quantized).toBeGreaterThan(0);
    }
  });

  test.each([
    ['q8', true, 20, 3],
    ['q4', true, 20, 3],
    ['q8', true, 8, 3],
    ['q8', false, 20, 3],
    ['f16', true, 20, 3],
  ] as const)(
    '%s, integer products %s: an FFN of %i rows is at most %i dispatches, its norm included',
    async (dtype, integerDot, T, most) => {
      await using backend = await createWebGpuBackend({ gpu, integerDot });
      const random = new Random(3);
      const [D, M] = [64, 96];
      const matrix = (n: number, k: number) => ({ data: random.normal(n * k), shape: [n, k] as const });
      const up = await backend.pack({ gate: matrix(M, D), up: matrix(M, D) }, { dtype });
      const down = await backend.pack(matrix(D, M), { dtype });
      const x = backend.upload(random.normal(T * D), [T, D]);
      const normWeight = backend.upload(random.normal(D));
      const dispatch = vi.spyOn(GPUComputePassEncoder.prototype, 'dispatchWorkgroups');
      backend.run(gatheredFfn, { x, up, down, normWeight }, { activation: 'silu', norm: 'rms', eps: 1e-5 });
      await backend.read(x);
      expect(dispatch.mock.calls.length).toBeGreaterThan(0);
      expect(dispatch.mock.calls.length).toBeLessThanOrEqual(most);
      dispatch.mockRestore();
    },
  );

  test.each(WEIGHT_DTYPES)('%s: a weight beyond the binding limit is split, and its parts make up the whole', async (dtype) => {
    const mostBytes = { f32: 180_224, f16: 90_112, q8: 45_312, q4: 25_344 }[dtype]; // 64 outputs of 700 inputs
    const device = await (await gpu.requestAdapter())!.requestDevice();
    const limits = new Proxy(device.limits, {
      get: (target, key) => (key === 'maxStorageBufferBindingSize' ? mostBytes : Reflect.get(target, key, target)),
    });
    const small = new Proxy(device, {
      get(target, key) {
        const value = key === 'limits' ? limits : (Reflect.get(target, key, target) as unknown);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const guest = await createWebGpuBackend({ device: small });
    const random = new Random(7);
    for (const T of [3, 9]) {
      const size = [T, 700, 200] as const;
      const [x, data] = [
        integers(random, T, 700, 127),
        dtype === 'q4' ? integers(random, 200, 700, 7, -8) : integers(random, 200, 700, 127),
      ];
      expect(await multiply(guest, dtype, x, { data, shape: [200, 700] }, size)).toEqual(products(x, data, size));
    }
    await expect(guest.pack({ data: new Float32Array(64 * 705), shape: [64, 705] }, { dtype })).rejects.toMatchObject({
      code: 'out-of-memory',
      argument: 'shape',
    });
    await guest[Symbol.asyncDispose]();
    device.destroy();
  });
});
