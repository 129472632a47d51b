import { layerNorm, rmsNorm, rope, ropeAppend, ropeTables } from '../../src/ops/index.ts';
import { f32, out, u32 } from '../operands.ts';
import { rowLists } from '../random.ts';
import { NONEMPTY, type OpRow, star, TURNING_POINTS } from './row.ts';

export const rmsNormRow: OpRow = {
  op: rmsNorm,
  *cases(random) {
    for (const { title, T, D } of star({ T: 5, D: 13 }, { T: TURNING_POINTS, D: [...TURNING_POINTS, 1000] })) {
      const values = { x: f32(random.normal(T * D), T, D), weight: f32(random.normal(D, 0.2, 1), D), y: out(T, D) };
      yield { title, values, attrs: { eps: 1e-5 }, sums: D };
    }
    const [T, D] = [3, 68];
    const weight = f32(random.normal(D), D);
    yield { title: 'large numbers', values: { x: f32(random.normal(T * D, 1e6), T, D), weight, y: out(T, D) }, attrs: { eps: 0 }, sums: D };
    yield {
      title: 'tiny numbers',
      values: { x: f32(random.normal(T * D, 1e-5), T, D), weight, y: out(T, D) },
      attrs: { eps: 1e-6 },
      sums: D,
    };
    yield {
      title: 'rows of zeros',
      values: { x: f32(new Float32Array(T * D), T, D), weight, y: out(T, D) },
      attrs: { eps: 1e-6 },
      sums: D,
    };
  },
};

export const layerNormRow: OpRow = {
  op: layerNorm,
  *cases(random) {
    for (const { title, T, D } of star({ T: 5, D: 13 }, { T: TURNING_POINTS, D: [...TURNING_POINTS, 1000] })) {
      const bias = D % 2 ? f32(random.normal(D), D) : undefined;
      const values = { x: f32(random.normal(T * D), T, D), weight: f32(random.normal(D, 0.2, 1), D), bias, y: out(T, D) };
      yield { title, values, attrs: { eps: 1e-5 }, sums: 2 * D };
    }
    const [T, D] = [3, 68];
    const operands = { weight: f32(random.normal(D), D), bias: f32(random.normal(D), D), y: out(T, D) };
    // The variance must come from a second pass over the differences: x^2 - mean^2 would cancel here.
    yield {
      title: 'mean far from zero',
      values: { x: f32(random.normal(T * D, 1, 300), T, D), ...operands },
      attrs: { eps: 1e-5 },
      sums: 2 * D * 60 ** 2,
    };
    yield {
      title: 'constant rows',
      values: { x: f32(new Float32Array(T * D).fill(3), T, D), ...operands },
      attrs: { eps: 1e-5 },
      sums: 2 * D,
    };
  },
};

export const ropeRow: OpRow = {
  op: rope,
  *cases(random) {
    for (const layout of ['neox', 'interleaved'] as const) {
      for (const { title, T, H, half } of star({ T: 5, H: 3, half: 6 }, { T: TURNING_POINTS, H: NONEMPTY, half: TURNING_POINTS })) {
        const positions = random.ascending(T, 5, half === 6 ? 130_000 : 0);
        const { cos, sin } = ropeTables(positions, 2 * half, 10_000);
        const values = { x: f32(random.normal(T * H * 2 * half), T, H, 2 * half), cos: f32(cos, T, half), sin: f32(sin, T, half) };
        yield { title: `${layout}, ${title}`, values, attrs: { layout }, sums: 2 };
      }
    }
  },
};

export const ropeAppendRow: OpRow = {
  op: ropeAppend,
  *cases(random) {
    const base = { n: 5, H: 4, Hkv: 2, half: 6, before: 3, after: 2 };
    const axes = { n: TURNING_POINTS, H: [2, 6], Hkv: [1, 4], half: TURNING_POINTS, before: [0, 1, 64], after: [0] };
    for (const layout of ['neox', 'interleaved'] as const) {
      for (const { title, n, H, Hkv, half, before, after } of star(base, axes)) {
        const { cos, sin } = ropeTables(random.ascending(n, 5, half === 6 ? 130_000 : 0), 2 * half, 10_000);
        const numbers = (rows: number, heads: number) => f32(random.normal(rows * heads * 2 * half), rows, heads, 2 * half);
        const C = before + n + after;
        const caches = { k: numbers(C, Hkv), v: numbers(C, Hkv) };
        const values = { q: numbers(n, H), kv: numbers(n, 2 * Hkv), cos: f32(cos, n, half), sin: f32(sin, n, half), ...caches };
        const options = { attrs: { layout, at: before }, sums: 2 };
        yield { title: `${layout}, ${title}`, values, ...options };
        yield { title: `${layout}, ${title}, no queries`, values: { ...values, q: undefined }, ...options };
        for (const [name, list] of Object.entries(rowLists(n))) {
          const some = { ...values, q: numbers(list.length, H), rows: u32(list) };
          yield { title: `${layout}, ${title}, rows ${name}`, values: some, ...options };
        }
      }
    }
  },
};
