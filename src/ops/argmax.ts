import kernel from '../../kernels/argmax.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { defineOp, idList, input, written } from '../backend/op.ts';

const definition = /* @__PURE__ */ defineOp()({
  name: 'argmax',
  attrs: {},
  io: { x: input('T', 'V'), ids: written(idList('T', 'V')) },
  check({ dims, fail }) {
    if (dims.V === 0 && dims.T > 0) fail('x', `[${dims.T}, 0]`, 'at least one value in a row');
  },
  cost: ({ T, V }) => ({ flops: 0, bytes: 4 * T * (V + 1) }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, ids }, { T, V }) => {
  for (let t = 0; t < T; t++) {
    let best = Number.NEGATIVE_INFINITY;
    ids[t] = 0;
    for (let i = 0; i < V; i++) {
      if (x[t * V + i]! > best) {
        best = x[t * V + i]!;
        ids[t] = i;
      }
    }
  }
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, ids }, { T, V }) => {
  kernels.argmax(x, ids, T, V);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, ids }, { T, V }) => {
  gpu.dispatch(kernel, [x, ids], { T, V }, [T]);
};

/** The index of the largest value of every row; equal values: the lowest index; NaN never wins. x [T, V], ids [T]. */
export const argmax: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const argmaxOnWasm: Op<typeof definition> = { definition, wasm };
export const argmaxOnWebGpu: Op<typeof definition> = { definition, webgpu };
