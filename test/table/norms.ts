import { layerNorm, rmsNorm, rope, ropeTables } from '../../src/ops/index.ts';
import { f32, out } from '../operands.ts';
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
