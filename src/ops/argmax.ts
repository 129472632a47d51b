import code from '../../kernels/argmax.wgsl';
import { defineOp, indexOutput, input } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { rowThreads } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'argmax', code };

/** The index of the largest value of every row; equal values: the lowest index; NaN never wins. x [T, V], ids [T]. */
export const argmax = defineOp()({
  name: 'argmax',
  attrs: [],
  io: { x: input('T', 'V'), ids: indexOutput('T') },
  check({ dims, fail }) {
    if (dims.V === 0 && dims.T > 0) fail('x', `[${dims.T}, 0]`, 'at least one value in a row');
  },
  cost: ({ T, V }) => ({ flops: 0, bytes: 4 * T * (V + 1) }),
  reference({ x, ids }, { T, V }) {
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
  },
  wasm({ kernels }, { x, ids }, { T, V }) {
    kernels.argmax!(x, ids, T, V);
  },
  webgpu(gpu, { x, ids }, { T, V }) {
    gpu.dispatch(kernel, [x, ids], [T, V], [T], { THREADS: rowThreads(gpu, 256) });
  },
});
