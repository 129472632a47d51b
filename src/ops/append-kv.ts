import kernel from '../../kernels/append-kv.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { toF16Bits } from '../backend/f16.ts';
import * as field from '../backend/fields.ts';
import { defineOp, inout, input, orF16 } from '../backend/op.ts';
import { elementGroups, perWord } from '../backend/webgpu/binding.ts';

export interface AppendKvAttrs {
  /** Cache row of the first new row. */
  at: number;
}

const definition = /* @__PURE__ */ defineOp<AppendKvAttrs>()({
  name: 'append_kv',
  attrs: { at: field.integer({ min: 0 }) },
  io: {
    kNew: input('A', 'n', 'W'),
    vNew: input('A', 'n', 'W'),
    k: orF16(inout('A', 'C', 'W')),
    v: orF16(inout('A', 'C', 'W')),
  },
  check({ dims, attrs: { at }, fail }) {
    if (at + dims.n > dims.C) fail('at', at, `at most ${dims.C - dims.n}: ${dims.n} rows must fit into ${dims.C}`);
  },
  cost: ({ A, n, W, E }) => ({ flops: 0, bytes: 2 * (4 + E) * A * n * W }),
});

const reference: ReferenceBinding<typeof definition> = ({ kNew, vNew, k, v }, { A, n, W, C }, { at }) => {
  for (const [from, to] of [
    [kNew, k],
    [vNew, v],
  ] as const) {
    const stored = to instanceof Uint16Array ? from.map(toF16Bits) : from;
    for (let a = 0; a < A; a++) to.set(stored.subarray(a * n * W, (a + 1) * n * W), (a * C + at) * W);
  }
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { kNew, vNew, k, v }, { A, n, C, W, E }, { at }) => {
  const planes = [4 * n * W, C * W * E, n * W, A, Number(E === 2)] as const;
  kernels.copy_runs(kNew, k + at * W * E, ...planes);
  kernels.copy_runs(vNew, v + at * W * E, ...planes);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { kNew, vNew, k, v }, { A, n, W, C, E }, { at }) => {
  const words = (W * E) / 4; // of a cache row, of 32 bits
  gpu.dispatch(kernel, [kNew, vNew, k, v], { A, n, C, words, at }, elementGroups(A * n * words), perWord(E));
};

/**
 * Writes new keys and values into the cache from row `at` on. kNew, vNew [A, n, W]; k, v [A, C, W] (axes as in `compactKv`), f32,
 * or f16 to which they are rounded: nearest even, infinity from 65520 on.
 */
export const appendKv: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const appendKvOnWasm: Op<typeof definition> = { definition, wasm };
export const appendKvOnWebGpu: Op<typeof definition> = { definition, webgpu };
