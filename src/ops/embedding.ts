import code from '../../kernels/embedding.wgsl';
import { defineOp, idList, input, output } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'embedding', code };

export interface EmbeddingAttrs {
  /** Row of y for the first id. Rows of y outside [at, at + n) keep their value. Default 0. */
  at?: number;
}

/** `y[at + i] = table[ids[i]]`: embedding lookup, and the gather of any rows into a sequence. table [V, D], ids [n], y [U, D]. */
export const embedding = defineOp<EmbeddingAttrs>()({
  name: 'embedding',
  attrs: ['at'],
  io: { table: input('V', 'D'), ids: idList('n', 'V'), y: output('U', 'D') },
  check({ dims, attrs: { at = 0 }, fail }) {
    if (!Number.isInteger(at) || at < 0 || at + dims.n > dims.U)
      fail('at', at, `an integer from 0 to ${dims.U - dims.n}: ${dims.n} rows must fit into ${dims.U}`);
  },
  cost: ({ n, D }) => ({ flops: 0, bytes: 4 * 2 * n * D }),
  reference({ table, ids, y }, { n, D }, { at = 0 }) {
    for (let i = 0; i < n; i++) y.set(table.subarray(ids[i]! * D, (ids[i]! + 1) * D), (at + i) * D);
  },
  wasm({ kernels }, { table, ids, y }, { n, D }, { at = 0 }) {
    kernels.embedding!(table, ids, y + 4 * at * D, n, D);
  },
  webgpu(gpu, { table, ids, y }, { n, D }, { at = 0 }) {
    gpu.dispatch(kernel, [table, ids, y], [n * D, D, at], elementGroups(n * D));
  },
});
