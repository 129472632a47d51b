import code from '../../kernels/append-kv.wgsl';
import { defineOp, inout, input } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'append-kv', code };

export interface AppendKvAttrs {
  /** Cache row of the first new row. */
  at: number;
}

/** Writes new keys and values into the cache from row `at` on. kNew, vNew [A, n, W]; k, v [A, C, W] (axes as in `compactKv`). */
export const appendKv = defineOp<AppendKvAttrs>()({
  name: 'append_kv',
  attrs: ['at'],
  io: { kNew: input('A', 'n', 'W'), vNew: input('A', 'n', 'W'), k: inout('A', 'C', 'W'), v: inout('A', 'C', 'W') },
  check({ dims, attrs: { at }, fail }) {
    if (!Number.isInteger(at) || at < 0 || at + dims.n > dims.C)
      fail('at', at, `an integer from 0 to ${dims.C - dims.n}: ${dims.n} rows must fit into ${dims.C}`);
  },
  cost: ({ A, n, W }) => ({ flops: 0, bytes: 4 * 4 * A * n * W }),
  reference({ kNew, vNew, k, v }, { A, n, W, C }, { at }) {
    for (const [from, to] of [
      [kNew, k],
      [vNew, v],
    ] as const) {
      for (let a = 0; a < A; a++) to.set(from.subarray(a * n * W, (a + 1) * n * W), (a * C + at) * W);
    }
  },
  wasm({ kernels }, { kNew, vNew, k, v }, { A, n, C, W }, { at }) {
    kernels.append_kv!(kNew, k, A, n, C, W, at);
    kernels.append_kv!(vNew, v, A, n, C, W, at);
  },
  webgpu(gpu, { kNew, vNew, k, v }, { A, n, W, C }, { at }) {
    const elements = A * n * W;
    gpu.dispatch(kernel, [kNew, vNew, k, v], [elements, n * W, W, C, at], elementGroups(elements));
  },
});
