/** Every tile of the product kernels gives the same, to the bit; and which one is chosen. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { TILE_SHAPES } from '../../src/ops/product/tune-webgpu.ts';
import { productChoice } from '../../src/ops/product/webgpu.ts';
import type { Weight } from '../../src/backend/weight.ts';
import { type GatheredFfnAttrs, gatheredFfn } from '../../src/ops/gathered-ffn.ts';
import { linear } from '../../src/ops/linear.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';
import { Random } from '../random.ts';
import { shaped } from '../shaped.ts';

/** Of choose() in src/ops/product/webgpu.ts. */
const TILES = [
  { TM: 4, NX: 16, NY: 16 },
  { TM: 4, NX: 8, NY: 8 },
  { TM: 4, NX: 8, NY: 4 },
  { TM: 8, NX: 16, NY: 8 },
  { TM: 8, NX: 8, NY: 4 },
];
/** Rows around the edges of the tiles; from 9 on, as fewer go through other kernels. */
const ROWS = [9, 15, 16, 17, 23, 24, 25, 33, 63, 64, 65];
const [D, M] = [36, 68];

test.each(TILE_SHAPES)('a tuned tile of $NX x $NY threads of $TM rows is the one that runs', (shape) => {
  const shapes = { some: shape, many: shape };
  for (const rows of [64, 512]) expect(productChoice({ vendor: '', shapes }, rows, 1024).constants).toEqual(shape);
});

test('a tile that was tuned when all had 4 rows a thread keeps them', () => {
  const many = { NX: 16, NY: 16 };
  expect(productChoice({ vendor: 'nvidia', shapes: { many } }, 512, 2048).constants).toEqual({ TM: 4, ...many });
});

test('an adapter whose threads have many registers takes 8 rows a thread, where there are enough tiles', () => {
  const chosen = (vendor: string, rows: number) => productChoice({ vendor, shapes: {} }, rows, 2048);
  for (const vendor of ['nvidia', String(0x10de)]) {
    expect(chosen(vendor, 512)).toMatchObject({ constants: { TM: 8, NX: 16, NY: 8 }, workgroups: [32, 8] });
  }
  expect(chosen('nvidia', 64)).toMatchObject({ constants: { TM: 4, NX: 8, NY: 8 }, workgroups: [64, 2] });
  expect(chosen('intel', 512)).toMatchObject({ constants: { TM: 4, NX: 16, NY: 16 }, workgroups: [32, 8] });
});

describe.each(installedAdapters())('tiles on %s', (adapter) => {
  let backend: Backend;
  let up: Weight;
  let plain: Weight;
  let down: Weight;
  const random = new Random(3);
  const matrix = (N: number, K: number) => ({ data: random.normal(N * K, 0.3), shape: [N, K] as const });
  beforeAll(async () => {
    backend = await createWebGpuBackend({ gpu: await nodeGpu(adapter) });
    up = await backend.pack({ gate: matrix(M, D), up: matrix(M, D) });
    plain = await backend.pack(matrix(M, D));
    down = await backend.pack(matrix(D, M));
  });
  afterAll(() => backend[Symbol.asyncDispose]());

  const vector = (length: number) => backend.upload(random.normal(length));

  test.each(TILES)('linear, $NX x $NY threads of $TM rows', async (tile) => {
    const op = shaped(linear, tile);
    for (const R of ROWS) {
      using x = backend.upload(random.normal((R + 3) * M), [R + 3, M]);
      using bias = vector(D);
      using normWeight = vector(M);
      using rows = backend.upload(Uint32Array.from({ length: R }, (_, i) => i + (i > 4 ? 3 : 1)));
      const results = [];
      for (const each of [linear, op]) {
        using y = backend.empty({ dtype: 'f32', shape: [R, D] });
        backend.run(each, { x, normWeight, rows, weight: down, bias, y }, { activation: 'gelu', eps: 1e-5 });
        results.push(await backend.read(y));
      }
      expect(results[1], `${R} rows`).toEqual(results[0]);
    }
  });

  test.each(
    TILES.flatMap((tile) => [
      { ...tile, norm: 'layer' as const, gated: true },
      { ...tile, norm: 'rms' as const, gated: true },
      { ...tile, norm: 'none' as const, gated: true },
      { ...tile, norm: 'rms' as const, gated: false },
    ]),
  )('gathered_ffn, $norm norm, gated: $gated, $NX x $NY threads of $TM rows', async ({ norm, gated, ...tile }) => {
    const op = shaped(gatheredFfn, tile);
    const attrs: GatheredFfnAttrs = { activation: 'silu', norm, eps: 1e-5 };
    for (const R of ROWS) {
      const start = random.normal((R + 3) * D);
      using rows = backend.upload(Uint32Array.from({ length: R }, (_, i) => i + (i > 4 ? 3 : 1)));
      const vectors = {
        normWeight: norm === 'none' ? undefined : vector(D),
        normBias: norm === 'layer' ? vector(D) : undefined,
        gateBias: gated ? vector(M) : undefined,
        upBias: vector(M),
        downBias: vector(D),
        rowGate: vector(R),
      };
      const results = [];
      for (const each of [gatheredFfn, op]) {
        using x = backend.upload(start, [R + 3, D]);
        backend.run(each, { x, rows, up: gated ? up : plain, down, ...vectors }, attrs);
        results.push(await backend.read(x));
      }
      expect(results[1], `${R} rows`).toEqual(results[0]);
      for (const each of Object.values(vectors)) each?.dispose();
    }
  });
});
