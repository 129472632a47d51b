import kernel from '../../kernels/scatter-rows.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { defineOp, inout, input, optional, rowList } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';

const definition = /* @__PURE__ */ defineOp()({
  name: 'scatter_rows',
  attrs: {},
  io: { x: inout('T', 'D'), rows: rowList('R', 'T'), y: input('R', 'D'), gate: optional(input('R')) },
  cost: ({ R, D }) => ({ flops: 0, bytes: 4 * 3 * R * D }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, rows, y, gate }, { R, D }) => {
  for (let i = 0; i < R; i++) {
    for (let d = 0; d < D; d++) {
      const to = rows[i]! * D + d;
      x[to] = gate ? x[to]! + gate[i]! * (y[i * D + d]! - x[to]!) : y[i * D + d]!;
    }
  }
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, rows, y, gate }, { R, D }) => {
  kernels.scatter_rows(x, rows, y, gate, R, D);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, rows, y, gate }, { R, D }) => {
  gpu.dispatch(kernel, [rows, y, gate, x], { R, D, hasGate: !!gate }, elementGroups(R * D));
};

/**
 * `x[rows[i]] += gate[i] * (y[i] - x[rows[i]])`, without a gate `x[rows[i]] = y[i]`; the other rows keep their value to the bit.
 * x [T, D], rows [R], y [R, D], gate [R]. What a block over some rows gives back: with y = block(x[rows]) the gated update of
 * mixture of depths (arXiv 2404.02258).
 */
export const scatterRows: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const scatterRowsOnWasm: Op<typeof definition> = { definition, wasm };
export const scatterRowsOnWebGpu: Op<typeof definition> = { definition, webgpu };
