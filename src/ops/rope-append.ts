import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import kernel from '../../kernels/rope.wgsl';
import * as field from '../backend/fields.ts';
import { defineOp, inout, input, optional, rowList } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';
import { checkRope, pairsOf, type RopeAttrs, rotateHead } from './rope.ts';

export interface RopeAppendAttrs extends RopeAttrs {
  /** Cache row of the first new row. */
  at: number;
}

const definition = /* @__PURE__ */ defineOp<RopeAppendAttrs>()({
  name: 'rope_append',
  attrs: { layout: field.oneOf('neox', 'interleaved'), at: field.integer({ min: 0 }) },
  io: {
    q: optional(inout('Q', 'H', 'dh')),
    kv: input('n', 'G', 'dh'),
    cos: input('n', 'half'),
    sin: input('n', 'half'),
    rows: optional(rowList('Q', 'n')),
    k: inout('C', 'Hkv', 'dh'),
    v: inout('C', 'Hkv', 'dh'),
  },
  check({ io, dims, attrs, fail }) {
    checkRope(dims, fail);
    const { n, G, Hkv, C } = dims;
    if (G !== 2 * Hkv) fail('kv', `${G} heads`, `${2 * Hkv}, keys and values`);
    if (!io.q && io.rows) fail('rows', 'given', 'absent without q');
    if (io.q && !io.rows && dims.Q !== n) fail('q', `${dims.Q} rows`, `${n}, or a row list`);
    if (attrs.at + n > C) fail('at', attrs.at, `at most ${C - n}: ${n} rows must fit into ${C}`);
  },
  cost: ({ n, Q = 0, H = 0, Hkv, dh }) => ({
    flops: 3 * (Q * H + n * Hkv) * dh,
    bytes: 4 * (2 * (Q * H + 2 * n * Hkv) * dh + n * dh),
  }),
});

const reference: ReferenceBinding<typeof definition> = (
  { q, kv, cos, sin, rows, k, v },
  { n, Q = 0, H = 0, G, Hkv, dh },
  { layout, at },
) => {
  for (let i = 0; i < Q * H; i++) {
    const row = Math.floor(i / H);
    rotateHead(q!, i * dh, cos, sin, rows ? rows[row]! : row, dh, layout);
  }
  const width = Hkv * dh;
  for (let t = 0; t < n; t++) {
    const from = t * G * dh;
    const to = (at + t) * width;
    k.set(kv.subarray(from, from + width), to);
    v.set(kv.subarray(from + width, from + 2 * width), to);
    for (let h = 0; h < Hkv; h++) rotateHead(k, to + h * dh, cos, sin, t, dh, layout);
  }
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { q, kv, cos, sin, rows, k, v }, { n, Q, H, Hkv, dh }, { layout, at }) => {
  const interleaved = Number(layout === 'interleaved');
  const bytes = 4 * Hkv * dh;
  if (q) kernels.rope(q, cos, sin, rows, Q, H, dh, interleaved);
  kernels.copy_runs(kv, k + at * bytes, 2 * bytes, bytes, Hkv * dh, n, 0);
  kernels.copy_runs(kv + bytes, v + at * bytes, 2 * bytes, bytes, Hkv * dh, n, 0);
  kernels.rope(k + at * bytes, cos, sin, 0, n, Hkv, dh, interleaved);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { q, kv, cos, sin, rows, k, v }, { n, Q = 0, H = 0, Hkv, half }, { layout, at }) => {
  const [step, partner] = pairsOf(layout, half);
  const params = { Q, H, n, Hkv, half, step, partner, at, hasRows: !!rows };
  gpu.dispatch(kernel, [q, kv, cos, sin, rows, k, v], params, elementGroups((Q * H + 2 * n * Hkv) * half));
};

/**
 * What stands between the projections of a layer and its attention, in one: `rope` of the queries in place and of the keys on
 * their way into the cache, which takes the values too, from row `at` on. kv [n, 2 Hkv, dh] holds the key heads of a row, then
 * its value heads; k, v [C, Hkv, dh]. q [Q, H, dh]; row i of it is row rows[i] of the tables cos, sin [n, dh/2], without `rows`
 * row i.
 */
export const ropeAppend: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const ropeAppendOnWasm: Op<typeof definition> = { definition, wasm };
export const ropeAppendOnWebGpu: Op<typeof definition> = { definition, webgpu };
