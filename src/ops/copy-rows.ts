import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, output, rowList } from '../backend/op.ts';
import { moveRows } from '../backend/webgpu/move-rows.ts';

export interface CopyRowsAttrs {
  /** Row of y for the first one. Rows of y outside those copied keep their value. Default 0. */
  at?: number;
}

const definition = /* @__PURE__ */ defineOp<CopyRowsAttrs>()({
  name: 'copy_rows',
  attrs: { at: field.optional(field.integer({ min: 0 })) },
  io: { x: input('T', 'D'), rows: optional(rowList('R', 'T')), y: output('U', 'D') },
  check({ dims: { T, R = T, U }, attrs: { at = 0 }, fail }) {
    if (R > U) fail('y', `${U} rows`, `at least ${R}`);
    if (at + R > U) fail('at', at, `at most ${U - R}: ${R} rows must fit into ${U}`);
  },
  cost: ({ T, R = T, D }) => ({ flops: 0, bytes: 4 * 2 * R * D }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, rows, y }, { T, R = T, D }, { at = 0 }) => {
  for (let i = 0; i < R; i++) {
    const row = rows ? rows[i]! : i;
    y.set(x.subarray(row * D, (row + 1) * D), (at + i) * D);
  }
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, rows, y }, { T, R = T, D }, { at = 0 }) => {
  kernels.move_rows(x, y + 4 * at * D, rows, R, 4 * D);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, rows, y }, { T, R = T, D }, { at = 0 }) => {
  moveRows(gpu, { from: x, to: y, rows: R, width: D, list: rows, firstTo: at * D });
};

/** `y[at + i] = x[rows[i]]`, without `rows` `x[i]`, bit for bit. x [T, D], rows [R], y [U, D]. */
export const copyRows: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const copyRowsOnWasm: Op<typeof definition> = { definition, wasm };
export const copyRowsOnWebGpu: Op<typeof definition> = { definition, webgpu };
