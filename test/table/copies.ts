import { appendKv, compactKv, copyRows, embedding, gatherPositions, scatterRows } from '../../src/ops/index.ts';
import { f32, indexOut, out, type Results, storedAsF16, u32 } from '../operands.ts';
import { type Random, rowLists } from '../random.ts';
import { EVEN, NONEMPTY, type OpCase, type OpRow, star, TURNING_POINTS } from './row.ts';

export const appendKvRow: OpRow = {
  op: appendKv,
  *cases(random) {
    for (const { title, A, n, W, before, after } of star(
      { A: 2, n: 5, W: 7, before: 3, after: 4 },
      { A: NONEMPTY, n: TURNING_POINTS, W: TURNING_POINTS, before: [0, 1, 64], after: [0, 1] },
    )) {
      const C = before + n + after;
      const values = {
        kNew: f32(random.normal(A * n * W), A, n, W),
        vNew: f32(random.normal(A * n * W), A, n, W),
        k: f32(random.normal(A * C * W), A, C, W),
        v: f32(random.normal(A * C * W), A, C, W),
      };
      yield { title, values, attrs: { at: before }, sums: 0, exact: true };
    }
    for (const { title, A, n, W, before } of star(
      { A: 2, n: 5, W: 6, before: 3 },
      { A: [1, 5], n: TURNING_POINTS, W: EVEN, before: [0, 64] },
    )) {
      const C = before + n + 2;
      const fresh = () => f32(roundable(random, A * n * W), A, n, W);
      const values = { kNew: fresh(), vNew: fresh(), k: f32(random.normal(A * C * W), A, C, W), v: f32(random.normal(A * C * W), A, C, W) };
      yield { title: `f16, ${title}`, values: storedAsF16(values), attrs: { at: before }, sums: 0, exact: true };
    }
  },
};

/** Numbers of every kind that rounding to f16 knows: of all magnitudes, ties, subnormal, too large, and none at all. */
function roundable(random: Random, count: number): Float32Array {
  const special = [0, -0, 2049, 2051, -65519.996, 65520, 2 ** -25, 3 * 2 ** -25, -1e-7, 1e-40, -1e30, Infinity, -Infinity, Number.NaN];
  return random.normal(count).map((value, i) => (i % 3 ? value * 2 ** (random.below(60) - 40) : special[random.below(special.length)]!));
}

export const compactKvRow: OpRow = {
  op: compactKv,
  *cases(random) {
    const axes = { A: NONEMPTY, S: TURNING_POINTS, W: TURNING_POINTS };
    yield* compactions(random, star({ A: 2, S: 19, W: 7 }, axes));
    for (const { title, values, ...rest } of compactions(random, star({ A: 2, S: 19, W: 6 }, { A: [1, 5], S: [0, 1, 4, 17], W: EVEN })))
      yield { title: `f16, ${title}`, values: storedAsF16(values), ...rest };
  },
};

function* compactions(random: Random, sizes: Iterable<{ title: string; A: number; S: number; W: number }>): Generator<OpCase> {
  for (const { title, A, S, W } of sizes) {
    for (const [name, keep] of Object.entries(rowLists(S))) {
      const R = keep.length;
      const caches = { k: f32(random.normal(A * S * W), A, S, W), v: f32(random.normal(A * S * W), A, S, W), keep: u32(keep) };
      // In place, rows from R on have undefined contents.
      const kept = (array: Results[string]) => array.filter((_, i) => Math.floor(i / W) % S < R);
      yield { title: `${title}, keep ${name}, in place`, values: caches, attrs: {}, sums: 0, exact: true, defined: { k: kept, v: kept } };
      // Rows of the output from R on are not written.
      const U = R + (W % 2);
      const values = { ...caches, kOut: out(A, U, W), vOut: out(A, U, W) };
      yield { title: `${title}, keep ${name}, copied`, values, attrs: {}, sums: 0, exact: true };
    }
  }
}

export const embeddingRow: OpRow = {
  op: embedding,
  *cases(random) {
    for (const { title, V, n, D, at } of star(
      { V: 17, n: 5, D: 7, at: 0 },
      { V: NONEMPTY, n: TURNING_POINTS, D: TURNING_POINTS, at: [1, 4, 64] },
    )) {
      const ids = u32(Uint32Array.from({ length: n }, (_, i) => (i === 0 ? V - 1 : random.below(V))));
      const values = { table: f32(random.normal(V * D), V, D), ids, y: out(at + n + 2, D) };
      yield { title, values, attrs: { at }, sums: 0, exact: true };
    }
  },
};

export const copyRowsRow: OpRow = {
  op: copyRows,
  *cases(random) {
    for (const { title, T, D, at } of star({ T: 17, D: 7, at: 1 }, { T: TURNING_POINTS, D: TURNING_POINTS, at: [0, 4, 64] })) {
      const x = f32(bits(random, T * D), T, D);
      yield { title: `${title}, all`, values: { x, y: out(at + T + 2, D) }, attrs: { at }, sums: 0, exact: true };
      for (const [name, list] of Object.entries(rowLists(T)))
        yield {
          title: `${title}, ${name}`,
          values: { x, rows: u32(list), y: out(at + list.length + 2, D) },
          attrs: { at },
          sums: 0,
          exact: true,
        };
    }
  },
};

/** Floats of any bits but signalling NaN, which typed arrays may quiet: subnormal ones, infinities and NaN with a payload among them. */
function bits(random: Random, count: number): Float32Array {
  const words = Uint32Array.from({ length: count }, () => random.below(2 ** 32));
  return new Float32Array(words.map((word) => ((word & 0x7f800000) === 0x7f800000 ? (word | 0x00400000) >>> 0 : word)).buffer);
}

export const gatherPositionsRow: OpRow = {
  op: gatherPositions,
  *cases(random) {
    for (const { title, N } of star({ N: 17 }, { N: TURNING_POINTS })) {
      let position = 0;
      const list = u32(Uint32Array.from({ length: N }, () => (position += 1 + random.below(1000))));
      for (const [name, rows] of Object.entries(rowLists(N)))
        yield { title: `${title}, ${name}`, values: { list, rows: u32(rows), y: indexOut(rows.length) }, attrs: {}, sums: 0, exact: true };
    }
  },
};

export const scatterRowsRow: OpRow = {
  op: scatterRows,
  *cases(random) {
    for (const { title, T, D } of star({ T: 19, D: 7 }, { T: TURNING_POINTS, D: TURNING_POINTS })) {
      for (const [name, rows] of Object.entries(rowLists(T))) {
        const R = rows.length;
        const values = { x: f32(random.normal(T * D), T, D), rows: u32(rows), y: f32(random.normal(R * D), R, D) };
        yield { title: `${title}, rows ${name}`, values, attrs: {}, sums: 0, exact: true };
        yield { title: `${title}, rows ${name}, gated`, values: { ...values, gate: f32(random.normal(R), R) }, attrs: {}, sums: 3 };
      }
    }
  },
};
