import { ACTIVATIONS, gatheredFfn } from '../../src/ops/index.ts';
import { f32, matrix, pair, u32, type Values } from '../operands.ts';
import { type Random, rowLists } from '../random.ts';
import { type OpCase, type OpRow, PACKED, star, TURNING_POINTS } from './row.ts';

interface Form {
  norm: 'rms' | 'layer' | 'none';
  gated: boolean;
  biased: boolean;
}

const LLAMA: Form = { norm: 'rms', gated: true, biased: false };
const VIT: Form = { norm: 'layer', gated: false, biased: true };

function operands(random: Random, T: number, D: number, M: number, { norm, gated, biased }: Form): Values {
  const [up, gate] = [random.normal(M * D, 1 / Math.sqrt(D || 1)), random.normal(M * D, 1 / Math.sqrt(D || 1))];
  return {
    x: f32(random.normal(T * D), T, D),
    normWeight: norm === 'none' ? undefined : f32(random.normal(D, 0.2, 1), D),
    normBias: norm === 'layer' && biased ? f32(random.normal(D), D) : undefined,
    up: gated ? pair(gate, up, M, D) : matrix(up, M, D),
    gateBias: gated && biased ? f32(random.normal(M), M) : undefined,
    upBias: biased ? f32(random.normal(M), M) : undefined,
    down: matrix(random.normal(D * M, 1 / Math.sqrt(M || 1)), D, M),
    downBias: biased ? f32(random.normal(D), D) : undefined,
  };
}

function* packed(random: Random): Generator<OpCase> {
  for (const dtype of PACKED) {
    for (const form of [LLAMA, VIT]) {
      const name = form === LLAMA ? 'llama' : 'vit';
      const attrs = { activation: form.gated ? 'silu' : 'gelu', norm: form.norm, eps: 1e-5 };
      const axes = { T: TURNING_POINTS, D: [1, 31, 32, 33, 65], M: [1, 3, 31, 32, 33, 65] };
      for (const { title, ...size } of star({ T: 7, D: 36, M: 70 }, axes)) {
        const values = operands(random, size.T, size.D, size.M, form);
        yield { title: `${dtype}, ${name}, ${title}`, values, attrs, sums: 2 * (size.D + size.M), dtype, products: 3 };
      }
      for (const [list, rows] of Object.entries(rowLists(35))) {
        const values = { ...operands(random, 35, 36, 70, form), rows: u32(rows), rowGate: f32(random.normal(rows.length), rows.length) };
        yield { title: `${dtype}, ${name}, rows ${list}`, values, attrs, sums: 212, dtype, products: 3 };
      }
    }
  }
}

export const gatheredFfnRow: OpRow = {
  op: gatheredFfn,
  *cases(random) {
    for (const [name, form] of [
      ['llama', LLAMA],
      ['vit', VIT],
    ] as const) {
      const axes = { T: TURNING_POINTS, D: TURNING_POINTS, M: TURNING_POINTS };
      for (const { title, T, D, M } of star({ T: 7, D: 12, M: 21 }, axes)) {
        const attrs = { activation: form.gated ? 'silu' : 'gelu', norm: form.norm, eps: 1e-5 };
        yield { title: `${name}, ${title}`, values: operands(random, T, D, M, form), attrs, sums: 2 * (D + M) };
      }
    }
    for (const norm of ['rms', 'layer', 'none'] as const) {
      for (const gated of [true, false]) {
        for (const activation of ACTIVATIONS) {
          const biased = activation.length % 2 === 0;
          const values = operands(random, 5, 20, 36, { norm, gated, biased });
          yield {
            title: `${norm}, ${gated ? 'gated' : 'plain'}, ${activation}`,
            values,
            attrs: { activation, norm, eps: 1e-6 },
            sums: 112,
          };
        }
      }
    }
    yield* packed(random);
    const T = 35;
    for (const [name, rows] of Object.entries(rowLists(T))) {
      for (const gates of [false, true]) {
        const rowGate = gates ? f32(random.normal(rows.length), rows.length) : undefined;
        const values = { ...operands(random, T, 20, 36, LLAMA), rows: u32(rows), rowGate };
        yield {
          title: `rows ${name}${gates ? ', row gates' : ''}`,
          values,
          attrs: { activation: 'silu', norm: 'rms', eps: 1e-6 },
          sums: 112,
        };
      }
    }
  },
};
