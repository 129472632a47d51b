import inPlaceCode from '../../kernels/compact-kv.in-place.wgsl';
import code from '../../kernels/compact-kv.wgsl';
import { defineOp, inout, optional, output, rowList } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'compact-kv', code };
const inPlaceKernel: GpuKernel = { name: 'compact-kv.in-place', code: inPlaceCode };

/**
 * Keeps the listed rows of keys and values and drops the others: row keep[i] becomes row i. Keys are moved as they are,
 * with the rotation of their original position.
 *
 * k, v [A, S, W] with the row axis in the middle, so both cache layouts fit as a view: [S, Hkv * dh] is [1, S, Hkv * dh] and
 * [B, Hkv, S, dh] is [B * Hkv, S, dh]. With kOut, vOut [A, U, W], U >= R, rows are copied there and k, v stay as they
 * are; without them rows move in place, the extents stay, and rows from R on have undefined contents.
 */
export const compactKv = defineOp()({
  name: 'compact_kv',
  attrs: [],
  io: {
    k: inout('A', 'S', 'W'),
    v: inout('A', 'S', 'W'),
    keep: rowList('R', 'S'),
    kOut: optional(output('A', 'U', 'W')),
    vOut: optional(output('A', 'U', 'W')),
  },
  check({ io, dims, fail }) {
    if (!io.kOut !== !io.vOut) fail(io.kOut ? 'vOut' : 'kOut', 'absent', 'given together with its twin');
    if (io.kOut && dims.U < dims.R) fail('kOut', `${dims.U} rows`, `at least the ${dims.R} kept rows`);
  },
  cost: ({ A, R, W }) => ({ flops: 0, bytes: 4 * 4 * A * R * W }),
  reference({ k, v, keep, kOut = k, vOut = v }, { A, S, W, R, U = S }) {
    for (const [from, to] of [
      [k, kOut],
      [v, vOut],
    ] as const) {
      for (let a = 0; a < A; a++) {
        for (let i = 0; i < R; i++) {
          const source = (a * S + keep[i]!) * W;
          to.set(from.subarray(source, source + W), (a * U + i) * W); // keep[i] >= i: a row is read before it is overwritten
        }
      }
    }
  },
  wasm({ kernels }, { k, v, keep, kOut, vOut }, { A, S, W, R, U = S }) {
    kernels.compact_kv!(k, kOut || k, keep, A, S, U, W, R);
    kernels.compact_kv!(v, vOut || v, keep, A, S, U, W, R);
  },
  webgpu(gpu, { k, v, keep, kOut, vOut }, { A, S, W, R, U }) {
    if (kOut) {
      const elements = A * R * W;
      gpu.dispatch(kernel, [k, v, keep, kOut, vOut], [elements, R, W, S, U], elementGroups(elements));
    } else if (R > 0) {
      gpu.dispatch(inPlaceKernel, [k, v, keep], [A * W, R, W, S], elementGroups(A * W));
    }
  },
});
