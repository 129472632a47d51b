/** Norms of rows whose squares leave f32: the norm of a row does not depend on its scale, and every number of a row counts. */
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import type { Op } from '../../src/backend/bound-op.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { gatheredFfn, layerNorm, linear, rmsNorm, summary } from '../../src/ops/index.ts';
import { apply, f32, matrix, out, type Values } from '../operands.ts';
import { Random } from '../random.ts';

const ROUNDING = 2e-6;

interface Case {
  name: string;
  op: Op;
  /** Operands and attributes for x [rows, D], of which `result` is compared. */
  values(x: Float32Array, rows: number, D: number, scale: number): Values;
  attrs: object;
  result: string;
}

const ones = (length: number) => new Float32Array(length).fill(1);
const half = (length: number) => new Float32Array(length).fill(0.5);
const identity = (D: number) =>
  matrix(
    Float32Array.from({ length: D * D }, (_, i) => Number(i % (D + 1) === 0)),
    D,
    D,
  );

const cases: readonly Case[] = [
  {
    name: 'rms_norm',
    op: rmsNorm,
    values: (x, rows, D) => ({ x: f32(x, rows, D), weight: f32(half(D), D), y: out(rows, D) }),
    attrs: {},
    result: 'y',
  },
  {
    name: 'layer_norm',
    op: layerNorm,
    values: (x, rows, D) => ({ x: f32(x, rows, D), weight: f32(half(D), D), bias: f32(ones(D), D), y: out(rows, D) }),
    attrs: {},
    result: 'y',
  },
  {
    name: 'linear with normWeight',
    op: linear,
    values: (x, rows, D) => ({ x: f32(x, rows, D), normWeight: f32(half(D), D), weight: identity(D), y: out(rows, D) }),
    attrs: {},
    result: 'y',
  },
  ...(['rms', 'layer'] as const).map((norm) => ({
    name: `gathered_ffn with ${norm} norm`,
    op: gatheredFfn,
    // The gate brings the FFN to the size of the row that it is added to.
    values: (x: Float32Array, rows: number, D: number, scale: number) => ({
      x: f32(x, rows, D),
      normWeight: f32(half(D), D),
      up: identity(D),
      down: identity(D),
      rowGate: f32(ones(rows).fill(scale), rows),
    }),
    attrs: { activation: 'none', norm },
    result: 'x',
  })),
  {
    name: 'summary',
    op: summary,
    values: (x, rows, D) => ({
      tokens: f32(x, rows, D),
      normWeight: f32(half(D), D),
      scoreWeight: f32(new Random(7).normal(D, 0.3), D),
      y: out(1, D),
    }),
    attrs: { scoreBias: 0 },
    result: 'y',
  },
];

const backends: readonly [string, () => Promise<Backend>][] = [
  ['reference', async () => createReferenceBackend()],
  ['wasm simd128', () => createWasmBackend({ variant: 'simd128' })],
  ['wasm relaxed', () => createWasmBackend({ variant: 'relaxed' })],
];

describe.each(backends)('%s', (_, create) => {
  // 2^64 and 2^-70 are where squares leave f32; near 2^127 sums do too, and below 2^-126 the numbers themselves are subnormal.
  test.each(cases)('$name at every scale', async ({ op, values, attrs, result }) => {
    await using backend = await create();
    for (const D of [4, 7, 37, 64]) {
      const [rows, x] = [5, new Random(D).normal(5 * D)];
      const run = async (scale: number) => {
        const scaled = x.map((value) => value * scale);
        const results = await apply(backend, op, values(scaled, rows, D, scale), { ...attrs, eps: 0 });
        const keepsScale = result === 'x' || op === summary;
        return (results[result] as Float32Array).map((value) => (keepsScale ? value / scale : value));
      };
      const want = await run(1);
      for (const exponent of [-110, -90, -70, -60, -40, 40, 50, 62, 64, 66, 90, 120, 125]) {
        const got = await run(2 ** exponent);
        const worst = Math.max(...got.map((value, i) => Math.abs(value - want[i]!)));
        expect(worst, `D ${D}, 2^${exponent}`).toBeLessThan(ROUNDING);
      }
    }
  });

  test('known rows', async () => {
    await using backend = await create();
    const norm = async (op: Op, row: readonly number[], eps: number) => {
      const x = f32(Float32Array.from(row), 1, row.length);
      const { y } = await apply(backend, op, { x, weight: f32(ones(row.length), row.length), y: out(1, row.length) }, { eps });
      return Array.from(y as Float32Array, (value) => Number(value.toFixed(5)));
    };
    expect(await norm(rmsNorm, [1e20, 2e20, 2e20, 4e20], 1e-5)).toEqual([0.4, 0.8, 0.8, 1.6]);
    expect(await norm(rmsNorm, [1e-25, 2e-25, 2e-25, 4e-25], 0)).toEqual([0.4, 0.8, 0.8, 1.6]);
    expect(await norm(rmsNorm, [3e38, 3e38, -3e38, -3e38], 1e-5)).toEqual([1, 1, -1, -1]);
    expect(await norm(layerNorm, [1e20, 3e20, 1e20, 3e20], 1e-5)).toEqual([-1, 1, -1, 1]);
    expect(await norm(layerNorm, [3e38, -3e38, 3e38, -3e38], 1e-5)).toEqual([1, -1, 1, -1]);
    expect(await norm(rmsNorm, [0, 0, 0, 0], 1e-5)).toEqual([0, 0, 0, 0]);
    expect(await norm(rmsNorm, [0, 0, 0, 0], 0)).toEqual([NaN, NaN, NaN, NaN]);
    expect(await norm(rmsNorm, [Infinity, 1, 1, 1], 0)).toEqual([NaN, 0, 0, 0]);
    expect(await norm(rmsNorm, [NaN, 1, 1, 1], 0)).toEqual([NaN, NaN, NaN, NaN]);
  });
});

test('a norm on its way to int8', async () => {
  await using wasm = await createWasmBackend();
  const D = 64;
  const row = new Random(3).normal(D);
  const run = async (scale: number) => {
    const x = f32(
      row.map((value) => value * scale),
      1,
      D,
    );
    const values = { x, normWeight: f32(ones(D), D), weight: { ...identity(D), dtype: 'q8' as const }, y: out(1, D) };
    return (await apply(wasm, linear, values, { eps: 0 })).y!;
  };
  const want = await run(1);
  for (const exponent of [-90, 100]) {
    const got = await run(2 ** exponent);
    expect(Math.max(...got.map((value, i) => Math.abs(value - want[i]!))), `2^${exponent}`).toBeLessThan(ROUNDING);
  }
});
