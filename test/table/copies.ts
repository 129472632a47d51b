import { appendKv, compactKv, embedding } from '../../src/ops/index.ts';
import { f32, out, type Results, storedAsF16, u32 } from '../operands.ts';
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
