import kernel from '../../kernels/top-k-rows.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, rowList, written } from '../backend/op.ts';

export interface TopKRowsAttrs {
  k: number;
  /** Half-open ranges of rows that stay whatever their score; they do not count towards k. */
  alwaysKeep?: readonly (readonly [start: number, end: number])[];
}

const count = field.integer({ min: 0 });
export const TOP_K_FIELDS: field.Fields<TopKRowsAttrs> = { k: count, alwaysKeep: field.optional(field.list(field.tuple(count, count))) };
const definition = /* @__PURE__ */ defineOp<TopKRowsAttrs>()({
  name: 'top_k_rows',
  attrs: TOP_K_FIELDS,
  io: { scores: input('N'), rows: written(rowList('R', 'N')) },
  check({ dims, attrs: { k, alwaysKeep = [] }, fail }) {
    for (const [start, end] of alwaysKeep) {
      if (start > end || end > dims.N) fail('alwaysKeep', `[${start}, ${end})`, `ranges within [0, ${dims.N})`);
    }
    const free = dims.N - topKCount(0, alwaysKeep);
    if (k > free) fail('k', k, `at most ${free}, the rows that are not forced`);
    if (dims.R !== topKCount(k, alwaysKeep)) fail('rows', `[${dims.R}]`, `[${topKCount(k, alwaysKeep)}]`);
  },
  cost: ({ N, R }) => ({ flops: 0, bytes: 4 * (N + R) }),
});

const reference: ReferenceBinding<typeof definition> = ({ scores, rows }, { N, R }, { alwaysKeep = [] }) => {
  const forced = new Uint8Array(N);
  for (const [start, end] of alwaysKeep) forced.fill(1, start, end);
  const rank = (row: number) => (Number.isNaN(scores[row]!) ? Number.NEGATIVE_INFINITY : scores[row]!);
  const order = Array.from(scores.keys());
  order.sort((a, b) => forced[b]! - forced[a]! || (rank(a) === rank(b) ? a - b : rank(b) - rank(a)));
  rows.set(order.slice(0, R).sort((a, b) => a - b));
};

const wasm: WasmBinding<typeof definition> = ({ kernels, scratch, u32 }, { scores, rows }, { N }, { k, alwaysKeep = [] }) => {
  kernels.top_k_rows(scores, rows, N, k, u32(alwaysKeep.flat()), alwaysKeep.length, scratch(kernels.top_k_rows_scratch_bytes(N)));
};

const webgpu: GpuBinding<typeof definition> = (gpu, { scores, rows }, { N, R }, { alwaysKeep = [] }) => {
  if (R === 0) return;
  const ranges = alwaysKeep.length > 0 ? gpu.upload(Uint32Array.from(alwaysKeep.flat())) : undefined;
  gpu.dispatch(kernel, [scores, ranges, rows], { N, R, rangeCount: alwaysKeep.length }, [1]);
};

/**
 * The k best rows by score and all rows of `alwaysKeep`, ascending. Larger scores first, equal ones by lower index.
 * scores [N], rows [R] with R = forced rows + k (see `topKCount`). NaN counts as -Infinity.
 */
export const topKRows: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const topKRowsOnWasm: Op<typeof definition> = { definition, wasm };
export const topKRowsOnWebGpu: Op<typeof definition> = { definition, webgpu };

/** Rows that `topKRows` returns: k and the union of the ranges. */
export function topKCount(k: number, alwaysKeep: readonly (readonly [number, number])[] = []): number {
  field.checkFields('topKCount', { k, alwaysKeep }, TOP_K_FIELDS);
  let [total, counted] = [k, 0]; // rows below `counted` are in the total
  for (const [start, end] of [...alwaysKeep].sort(([a], [b]) => a - b)) {
    total += Math.max(0, end - Math.max(start, counted));
    counted = Math.max(counted, end);
  }
  return total;
}
