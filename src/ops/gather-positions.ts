import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { defineOp, positionList, rowList, written } from '../backend/op.ts';
import { moveRows } from '../backend/webgpu/move-rows.ts';

const definition = /* @__PURE__ */ defineOp()({
  name: 'gather_positions',
  attrs: {},
  io: { list: positionList('N'), rows: rowList('R', 'N'), y: written(positionList('R')) },
  cost: ({ R }) => ({ flops: 0, bytes: 4 * 3 * R }),
});

const reference: ReferenceBinding<typeof definition> = ({ list, rows, y }, { R }) => {
  for (let i = 0; i < R; i++) y[i] = list[rows[i]!]!;
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { list, rows, y }, { R }) => {
  kernels.move_rows(list, y, rows, R, 4);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { list, rows, y }, { R }) => {
  moveRows(gpu, { from: list, to: y, rows: R, width: 1, list: rows });
};

/**
 * `y[i] = list[rows[i]]`: positions of rows that were chosen on the device. Both lists ascend, so y does, and other ops take it as
 * positions. list [N], rows [R], y [R].
 */
export const gatherPositions: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const gatherPositionsOnWasm: Op<typeof definition> = { definition, wasm };
export const gatherPositionsOnWebGpu: Op<typeof definition> = { definition, webgpu };
