/** 256-bit products: the bits of plain ones at every width and row count, on one thread and on two, or a reason why not. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createWasmBackend, type WasmBackendOptions } from '../../src/backend/wasm/driver.ts';
import { gatheredFfn, linear } from '../../src/ops/index.ts';
import { apply, f32, matrix, out, pair } from '../operands.ts';
import { Random } from '../random.ts';

const NOT_HERE = 'this CPU or engine has no 256-bit products';

/** A backend, or undefined where 256-bit products cannot be had. */
async function wideBackend(options: WasmBackendOptions = {}): Promise<Backend | undefined> {
  const told: string[] = [];
  const backend = await createWasmBackend({ wide: true, ...options, onFallback: ({ reason }) => void told.push(reason) });
  if (backend.features.has('wide-simd')) {
    expect(told).toEqual([]);
    expect(backend.description).toMatch(/, 256-bit products/);
    return backend;
  }
  expect(told).toEqual([expect.stringMatching(/^wide was asked for, but /)]);
  expect(backend.description).toContain(`128-bit products (${told[0]})`);
  return undefined;
}

describe('256-bit products', () => {
  let plain: Backend;
  beforeAll(async () => {
    plain = await createWasmBackend({ variant: 'relaxed' });
  });

  test('need relaxed SIMD and bytes of our own', async () => {
    expect(await wideBackend({ variant: 'simd128' })).toBeUndefined();
  });

  test.for([1, 2])('have the bits of plain ones, %i threads', async (threads, context) => {
    const wide = await wideBackend({ threads, shareFrom: 0 });
    if (!wide) return context.skip(NOT_HERE);
    const random = new Random(4);
    for (const rows of [1, 5, 6, 12, 13, 23]) {
      for (const [N, K] of [
        [1, 9],
        [8, 33],
        [9, 64],
        [16, 1],
        [31, 70],
        [40, 577],
        [261, 24],
      ] as const) {
        const x = f32(random.normal(rows * K), rows, K);
        const bias = f32(random.normal(N), N);
        const product = { x, bias, weight: matrix(random.normal(N * K), N, K), y: out(rows, N) };
        expect(await apply(wide, linear, product, { activation: 'gelu' }), `linear ${rows} x ${K} x ${N}`).toEqual(
          await apply(plain, linear, product, { activation: 'gelu' }),
        );
        const up = pair(random.normal(N * K), random.normal(N * K), N, K);
        const ffn = { x, up, down: matrix(random.normal(N * K), K, N), upBias: bias };
        const attrs = { activation: 'silu', norm: 'none' };
        expect(await apply(wide, gatheredFfn, ffn, attrs), `FFN ${rows} x ${K} x ${N}`).toEqual(
          await apply(plain, gatheredFfn, ffn, attrs),
        );
      }
    }
    await wide[Symbol.asyncDispose]();
  });

  test('products of quantized weights are left alone', async (context) => {
    const wide = await wideBackend();
    if (!wide) return context.skip(NOT_HERE);
    const random = new Random(6);
    const [rows, N, K] = [13, 40, 96];
    const data = random.normal(N * K);
    const x = random.normal(rows * K);
    for (const dtype of ['f16', 'q8', 'q4'] as const) {
      const results = [];
      for (const backend of [plain, wide]) {
        const weight = await backend.pack({ data, shape: [N, K] }, { dtype });
        const y = backend.empty({ dtype: 'f32', shape: [rows, N] });
        backend.run(linear, { x: backend.upload(x, [rows, K]), weight, y }, {});
        results.push(await backend.read(y));
      }
      expect(results[1], dtype).toEqual(results[0]);
    }
  });
});
