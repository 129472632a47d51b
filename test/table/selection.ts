import { argmax, merge, summary, topKCount, topKRows } from '../../src/ops/index.ts';
import { f32, indexOut, out } from '../operands.ts';
import type { Random } from '../random.ts';
import { NONEMPTY, type OpRow, star, TURNING_POINTS } from './row.ts';

/** Numbers of which many are equal, exactly. */
function tied(random: Random, length: number, levels: number): Float32Array {
  return Float32Array.from({ length }, () => random.below(levels) - 1);
}

export const argmaxRow: OpRow = {
  op: argmax,
  *cases(random) {
    for (const { title, T, V } of star({ T: 3, V: 13 }, { T: TURNING_POINTS, V: [...NONEMPTY, 1000, 5000] })) {
      yield { title, values: { x: f32(random.normal(T * V), T, V), ids: indexOut(T) }, attrs: {}, sums: 0, exact: true };
      yield {
        title: `ties, ${title}`,
        values: { x: f32(tied(random, T * V, 3), T, V), ids: indexOut(T) },
        attrs: {},
        sums: 0,
        exact: true,
      };
    }
    const holes = random.normal(4 * 70).map((value, i) => (i % 70 === 0 || i % 3 === 0 || i >= 210 ? Number.NaN : value));
    yield { title: 'NaN never wins', values: { x: f32(holes, 4, 70), ids: indexOut(4) }, attrs: {}, sums: 0, exact: true };
  },
};

export const topKRowsRow: OpRow = {
  op: topKRows,
  *cases(random) {
    for (const N of [...TURNING_POINTS, 600]) {
      for (const k of new Set([0, Math.min(1, N), N >> 1, N])) {
        for (const [name, scores] of [
          ['distinct', random.normal(N)],
          ['ties', tied(random, N, 4)],
        ] as const) {
          const values = { scores: f32(scores, N), rows: indexOut(k) };
          yield { title: `N = ${N}, k = ${k}, ${name}`, values, attrs: { k }, sums: 0, exact: true };
        }
      }
    }
    for (const alwaysKeep of [
      [[0, 3]],
      [[60, 67]],
      [
        [2, 5],
        [4, 9],
        [30, 30],
        [64, 66],
      ],
      [[0, 67]],
    ] as [number, number][][]) {
      const k = Math.min(11, 67 - topKCount(0, alwaysKeep));
      const values = { scores: f32(tied(random, 67, 9), 67), rows: indexOut(topKCount(k, alwaysKeep)) };
      yield { title: `always keep ${JSON.stringify(alwaysKeep)}`, values, attrs: { k, alwaysKeep }, sums: 0, exact: true };
    }
    const odd = random
      .normal(67)
      .map((value, i) => [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 0, -0][i % 7] ?? value);
    for (const k of [5, 30, 50, 60, 67]) {
      yield {
        title: `NaN and Infinity, k = ${k}`,
        values: { scores: f32(odd, 67), rows: indexOut(k) },
        attrs: { k },
        sums: 0,
        exact: true,
      };
    }
  },
};

export const mergeRow: OpRow = {
  op: merge,
  *cases(random) {
    const axes = { N: [...NONEMPTY.filter((size) => size <= 65)], C: [3, 4, 5, 16, 17, 64, 65, 131] };
    for (const { title, N, C } of star({ N: 19, C: 13 }, axes)) {
      for (const M of new Set([1, Math.ceil(N / 3), N])) {
        const values = { x: f32(separatedTokens(random, N, C), N, C), y: out(M, C), destinations: indexOut(M), assignment: indexOut(N) };
        yield { title: `${title}, M = ${M}`, values, attrs: {}, sums: 2 * C + N };
      }
    }
  },
};

/** Tokens whose redundancies and cosines differ by far more than f32 sums do, so that every backend chooses alike. */
function separatedTokens(random: Random, N: number, C: number): Float32Array<ArrayBuffer> {
  for (;;) {
    const x = random.normal(N * C, 1, 0.3);
    const unit = Array.from({ length: N }, (_, i) => {
      const token = Array.from(x.subarray(i * C, (i + 1) * C));
      const length = Math.hypot(...token);
      return token.map((value) => value / length);
    });
    const cosines = unit.map((a) => unit.map((b) => a.reduce((sum, value, c) => sum + value * b[c]!, 0)));
    const redundancies = cosines.map((row) => row.reduce((sum, value) => sum + value, 0));
    if ([redundancies, ...cosines].every((values) => smallestGap(values) > 2e-6 * Math.sqrt(N))) return x;
  }
}

function smallestGap(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.reduce((gap, value, i) => (i ? Math.min(gap, value - sorted[i - 1]!) : gap), Number.POSITIVE_INFINITY);
}

export const summaryRow: OpRow = {
  op: summary,
  *cases(random) {
    for (const { title, n, D } of star({ n: 7, D: 13 }, { n: [...TURNING_POINTS, 300], D: [...NONEMPTY, 1000] })) {
      const values = {
        tokens: f32(random.normal(n * D), n, D),
        normWeight: f32(random.normal(D, 0.2, 1), D),
        normBias: n % 2 ? f32(random.normal(D), D) : undefined,
        scoreWeight: f32(random.normal(D, 1 / Math.sqrt(D)), D),
        y: out(1, D),
      };
      yield { title, values, attrs: { eps: 1e-5, scoreBias: 0.3 }, sums: 3 * D + n };
    }
  },
};
