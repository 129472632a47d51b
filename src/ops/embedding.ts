import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, idList, input, output } from '../backend/op.ts';
import { moveRows } from '../backend/webgpu/move-rows.ts';

export interface EmbeddingAttrs {
  /** Row of y for the first id. Rows of y outside [at, at + n) keep their value. Default 0. */
  at?: number;
}

const definition = /* @__PURE__ */ defineOp<EmbeddingAttrs>()({
  name: 'embedding',
  attrs: { at: field.optional(field.integer({ min: 0 })) },
  io: { table: input('V', 'D'), ids: idList('n', 'V'), y: output('U', 'D') },
  check({ dims, attrs: { at = 0 }, fail }) {
    if (at + dims.n > dims.U) fail('at', at, `at most ${dims.U - dims.n}: ${dims.n} rows must fit into ${dims.U}`);
  },
  cost: ({ n, D }) => ({ flops: 0, bytes: 4 * 2 * n * D }),
});

const reference: ReferenceBinding<typeof definition> = ({ table, ids, y }, { n, D }, { at = 0 }) => {
  for (let i = 0; i < n; i++) y.set(table.subarray(ids[i]! * D, (ids[i]! + 1) * D), (at + i) * D);
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { table, ids, y }, { n, D }, { at = 0 }) => {
  kernels.move_rows(table, y + 4 * at * D, ids, n, 4 * D);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { table, ids, y }, { n, D }, { at = 0 }) => {
  moveRows(gpu, { from: table, to: y, rows: n, width: D, list: ids, firstTo: at * D });
};

/** `y[at + i] = table[ids[i]]`: embedding lookup. table [V, D], ids [n] in any order, y [U, D]. */
export const embedding: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const embeddingOnWasm: Op<typeof definition> = { definition, wasm };
export const embeddingOnWebGpu: Op<typeof definition> = { definition, webgpu };
