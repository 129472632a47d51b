import code from '../../kernels/append-kv.wgsl';
import { toF16Bits } from '../backend/f16.ts';
import { defineOp, inout, input, orF16 } from '../backend/op.ts';
import { type GpuKernel, perWord } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'append-kv', code };

export interface AppendKvAttrs {
  /** Cache row of the first new row. */
  at: number;
}

/**
 * Writes new keys and values into the cache from row `at` on. kNew, vNew [A, n, W]; k, v [A, C, W] (axes as in `compactKv`), f32,
 * or f16 to which they are rounded: nearest even, infinity from 65520 on.
 */
export const appendKv = defineOp<AppendKvAttrs>()({
  name: 'append_kv',
  attrs: ['at'],
  io: {
    kNew: input('A', 'n', 'W'),
    vNew: input('A', 'n', 'W'),
    k: orF16(inout('A', 'C', 'W')),
    v: orF16(inout('A', 'C', 'W')),
  },
  check({ dims, attrs: { at }, fail }) {
    if (!Number.isInteger(at) || at < 0 || at + dims.n > dims.C)
      fail('at', at, `an integer from 0 to ${dims.C - dims.n}: ${dims.n} rows must fit into ${dims.C}`);
  },
  cost: ({ A, n, W, E }) => ({ flops: 0, bytes: 2 * (4 + E) * A * n * W }),
  reference({ kNew, vNew, k, v }, { A, n, W, C }, { at }) {
    for (const [from, to] of [
      [kNew, k],
      [vNew, v],
    ] as const) {
      const stored = to instanceof Uint16Array ? from.map(toF16Bits) : from;
      for (let a = 0; a < A; a++) to.set(stored.subarray(a * n * W, (a + 1) * n * W), (a * C + at) * W);
    }
  },
  wasm({ kernels }, { kNew, vNew, k, v }, { A, n, C, W, E }, { at }) {
    const append = E === 2 ? kernels.append_kv_f16! : kernels.append_kv!;
    append(kNew, k, A, n, C, W, at);
    append(vNew, v, A, n, C, W, at);
  },
  webgpu(gpu, { kNew, vNew, k, v }, { A, n, W, C, E }, { at }) {
    const width = (W * E) / 4; // of a cache row, in 32-bit words
    const words = A * n * width;
    gpu.dispatch(kernel, [kNew, vNew, k, v], [words, n * width, width, C, at], elementGroups(words), perWord(E));
  },
});
