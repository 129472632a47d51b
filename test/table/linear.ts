import { ACTIVATIONS, linear, patchEmbedding } from '../../src/ops/index.ts';
import { f32, matrix, out, u32, type Values } from '../operands.ts';
import { type Random, rowLists } from '../random.ts';
import { type OpCase, type OpRow, PACKED, star, TURNING_POINTS } from './row.ts';

function operands(random: Random, T: number, K: number, N: number, U = T): Values {
  return {
    x: f32(random.normal(T * K), T, K),
    weight: matrix(random.normal(N * K, 1 / Math.sqrt(K || 1)), N, K),
    bias: f32(random.normal(N), N),
    y: out(U, N),
  };
}

/** With an RMSNorm of the rows in front: from 1 to 8 rows and beyond, widths around a vector and a tile. */
function* normed(random: Random): Generator<OpCase> {
  for (const { title, T, K, N } of star({ T: 5, K: 13, N: 11 }, { T: TURNING_POINTS, K: [0, 1, 4, 7, 64, 65, 1000], N: [1, 35, 64, 65] })) {
    const values = { ...operands(random, T, K, N), normWeight: f32(random.normal(K), K) };
    yield { title: `norm, ${title}`, values, attrs: { eps: 1e-5 }, sums: 2 * K + 1 };
  }
  const rows = u32(Uint32Array.of(0, 3, 4, 11, 12, 13, 18));
  for (const dtype of ['f32', ...PACKED] as const) {
    const values = { ...operands(random, 19, 70, 35), normWeight: f32(random.normal(70), 70), rows, outRows: rows };
    yield { title: `norm, ${dtype}, rows and outRows`, values, attrs: { accumulate: true }, sums: 142, dtype };
  }
}

/** Widths around the block of 32 columns; rows and outputs around every tile. */
function* packed(random: Random): Generator<OpCase> {
  for (const dtype of PACKED) {
    const K = [0, 1, 31, 32, 33, 63, 64, 65, 1000];
    for (const { title, ...size } of star({ T: 5, K: 70, N: 11 }, { T: TURNING_POINTS, K, N: TURNING_POINTS })) {
      yield { title: `${dtype}, ${title}`, values: operands(random, size.T, size.K, size.N), attrs: {}, sums: size.K + 1, dtype };
    }
    for (const { title, ...size } of star({ T: 1, K: 70, N: 100 }, { K, N: [24, 25, 31, 32, 33, 57, 64, 300] })) {
      const attrs = { activation: 'silu', accumulate: true };
      yield { title: `${dtype}, one row, ${title}`, values: operands(random, size.T, size.K, size.N), attrs, sums: size.K + 1, dtype };
    }
    const rows = u32(Uint32Array.of(0, 3, 4, 11, 12, 13, 18));
    yield {
      title: `${dtype}, rows and outRows`,
      values: { ...operands(random, 19, 70, 35), rows, outRows: rows },
      attrs: {},
      sums: 71,
      dtype,
    };
  }
}

export const linearRow: OpRow = {
  op: linear,
  *cases(random) {
    const axes = { T: TURNING_POINTS, K: [...TURNING_POINTS, 1000], N: TURNING_POINTS };
    for (const { title, T, K, N } of star({ T: 5, K: 13, N: 11 }, axes))
      yield { title, values: operands(random, T, K, N), attrs: {}, sums: K + 1 };
    for (const { title, T, K, N } of star({ T: 19, K: 67, N: 35 }, { T: [16, 17, 35], K: [64, 65, 67], N: [64, 65, 67] })) {
      yield { title: `larger, no bias, ${title}`, values: { ...operands(random, T, K, N), bias: undefined }, attrs: {}, sums: K };
    }
    for (const activation of ACTIVATIONS) {
      yield { title: `act ${activation}`, values: operands(random, 7, 20, 9), attrs: { activation }, sums: 60 };
      yield {
        title: `act ${activation}, accumulate`,
        values: operands(random, 7, 20, 9),
        attrs: { activation, accumulate: true },
        sums: 60,
      };
    }
    yield* normed(random);
    yield* packed(random);
    const [T, K, N] = [19, 13, 11];
    for (const [name, list] of Object.entries(rowLists(T))) {
      const rows = u32(list);
      const count = list.length;
      yield { title: `rows ${name}`, values: { ...operands(random, T, K, N, count), rows }, attrs: {}, sums: K + 1 };
      yield { title: `outRows ${name}`, values: { ...operands(random, count, K, N, T), outRows: rows }, attrs: {}, sums: K + 1 };
      for (const accumulate of [false, true]) {
        const title = `rows and outRows ${name}${accumulate ? ', accumulate' : ''}`;
        // Rows go to other rows than they come from: outRows is the mirror image of rows.
        const outRows = u32(list.map((row) => T - 1 - row).reverse());
        yield { title, values: { ...operands(random, T, K, N, T), rows, outRows }, attrs: { accumulate }, sums: K + 2 };
      }
    }
  },
};

export const patchEmbeddingRow: OpRow = {
  op: patchEmbedding,
  *cases(random) {
    const base = { channels: 3, down: 2, across: 3, patchSize: 4, D: 11 };
    const axes = { channels: [1, 2, 4], down: [1, 4, 5, 17], across: [1, 4, 5, 17], patchSize: [1, 2, 7, 14, 16], D: TURNING_POINTS };
    for (const { title, channels, down, across, patchSize, D } of star(base, axes)) {
      for (const classRow of [true, false]) {
        const P = down * across + (classRow ? 1 : 0);
        const K = channels * patchSize ** 2;
        const values = {
          pixels: f32(random.normal(channels * down * across * patchSize ** 2), channels, down * patchSize, across * patchSize),
          weight: matrix(random.normal(D * K, 1 / Math.sqrt(K)), D, K),
          bias: classRow ? undefined : f32(random.normal(D), D),
          classEmbedding: classRow ? f32(random.normal(D), D) : undefined,
          positionEmbedding: D % 2 ? f32(random.normal(P * D), P, D) : undefined,
          y: out(P, D),
        };
        yield { title: `${title}${classRow ? ', class row' : ', bias'}`, values, attrs: { patchSize }, sums: K + 2 };
        if (D !== 35) continue;
        for (const dtype of PACKED) yield { title: `${dtype}, ${title}`, values, attrs: { patchSize }, sums: K + 2, dtype };
      }
    }
  },
};
