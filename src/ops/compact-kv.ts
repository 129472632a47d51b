import inPlace from '../../kernels/compact-kv.in-place.wgsl';
import outOfPlace from '../../kernels/compact-kv.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { defineOp, inout, optional, orF16, output, rowList } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';
import { prefixed } from '../backend/webgpu/kernel.ts';

/** Rows of an invocation of compact-kv.wgsl. */
const ROWS = 4;
/** Kernels that move words, and vec4 of them, 16 bytes at a time. */
const WORD = 'alias Item = u32;';
const VECTOR = 'alias Item = vec4<u32>;';
const words = /* @__PURE__ */ prefixed(outOfPlace, WORD, 'u32');
const vectors = /* @__PURE__ */ prefixed(outOfPlace, VECTOR, 'vec4<u32>');
const wordsInPlace = /* @__PURE__ */ prefixed(inPlace, WORD, 'u32');
const vectorsInPlace = /* @__PURE__ */ prefixed(inPlace, VECTOR, 'vec4<u32>');

const definition = /* @__PURE__ */ defineOp()({
  name: 'compact_kv',
  attrs: {},
  io: {
    k: orF16(inout('A', 'S', 'W')),
    v: orF16(inout('A', 'S', 'W')),
    keep: rowList('R', 'S'),
    kOut: optional(orF16(output('A', 'U', 'W'))),
    vOut: optional(orF16(output('A', 'U', 'W'))),
  },
  check({ io, dims, fail }) {
    if (!io.kOut !== !io.vOut) fail(io.kOut ? 'vOut' : 'kOut', 'absent', 'given together with its twin');
    if (io.kOut && dims.U < dims.R) fail('kOut', `${dims.U} rows`, `at least the ${dims.R} kept rows`);
  },
  cost: ({ A, R, W, E }) => ({ flops: 0, bytes: 4 * E * A * R * W }),
});

const reference: ReferenceBinding<typeof definition> = ({ k, v, keep, kOut = k, vOut = v }, { A, S, W, R, U = S }) => {
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
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { k, v, keep, kOut, vOut }, { A, S, W, R, U = S, E }) => {
  const bytes = W * E;
  for (let a = 0; a < A; a++) {
    kernels.move_rows(k + a * S * bytes, (kOut || k) + a * U * bytes, keep, R, bytes);
    kernels.move_rows(v + a * S * bytes, (vOut || v) + a * U * bytes, keep, R, bytes);
  }
};

const webgpu: GpuBinding<typeof definition> = (gpu, { k, v, keep, kOut, vOut }, { A, S, W, R, U, E }) => {
  const rowWords = (W * E) / 4;
  const width = rowWords % 4 ? rowWords : rowWords / 4;
  if (kOut) {
    const workgroups = elementGroups(A * Math.ceil(R / ROWS) * width);
    gpu.dispatch(rowWords % 4 ? words : vectors, [k, v, keep, kOut, vOut], { A, S, R, U, width }, workgroups);
  } else if (R > 0) {
    gpu.dispatch(rowWords % 4 ? wordsInPlace : vectorsInPlace, [k, v, keep], { A, S, R, width }, elementGroups(A * width));
  }
};

/**
 * Keeps the listed rows of keys and values and drops the others: row keep[i] becomes row i. Keys are moved as they are,
 * with the rotation of their original position.
 *
 * k, v [A, S, W] with the row axis in the middle, so both cache layouts fit as a view: [S, Hkv * dh] is [1, S, Hkv * dh] and
 * [B, Hkv, S, dh] is [B * Hkv, S, dh]. With kOut, vOut [A, U, W], U >= R, rows are copied there and k, v stay as they
 * are; without them rows move in place, the extents stay, and rows from R on have undefined contents. All are f32 or all f16.
 */
export const compactKv: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const compactKvOnWasm: Op<typeof definition> = { definition, wasm };
export const compactKvOnWebGpu: Op<typeof definition> = { definition, webgpu };
