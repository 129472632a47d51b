import kernel from '../../kernels/rope.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { invalidArgument } from '../backend/errors.ts';
import * as field from '../backend/fields.ts';
import { defineOp, type Fail, inout, input } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';

export interface RopeAttrs {
  /** 'neox' rotates elements (c, c + dh/2) together (Hugging Face Llama), 'interleaved' (2c, 2c + 1). */
  layout: 'neox' | 'interleaved';
}

const definition = /* @__PURE__ */ defineOp<RopeAttrs>()({
  name: 'rope',
  attrs: { layout: field.oneOf('neox', 'interleaved') },
  io: { x: inout('T', 'H', 'dh'), cos: input('T', 'half'), sin: input('T', 'half') },
  check: ({ dims, fail }) => checkRope(dims, fail),
  cost: ({ T, H, dh }) => ({ flops: 3 * T * H * dh, bytes: 4 * (2 * T * H * dh + T * dh) }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, cos, sin }, { T, H, dh }, { layout }) => {
  for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) rotateHead(x, (t * H + h) * dh, cos, sin, t, dh, layout);
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, cos, sin }, { T, H, dh }, { layout }) => {
  kernels.rope(x, cos, sin, 0, T, H, dh, Number(layout === 'interleaved'));
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, cos, sin }, { T, H, half }, { layout }) => {
  const [step, partner] = pairsOf(layout, half);
  const params = { Q: T, H, n: 0, Hkv: 0, half, step, partner, at: 0, hasRows: false };
  gpu.dispatch(kernel, [x, undefined, cos, sin, undefined, undefined, undefined], params, elementGroups(T * H * half));
};

/**
 * Rotary position embedding in place. x [T, H, dh]; cos, sin [T, dh/2] from `ropeTables`, so that angles are computed
 * in double precision on every backend. Pair c: (a, b) -> (a cos - b sin, b cos + a sin). (RoFormer, arXiv 2104.09864)
 */
export const rope: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const ropeOnWasm: Op<typeof definition> = { definition, wasm };
export const ropeOnWebGpu: Op<typeof definition> = { definition, webgpu };

/** Elements from one pair to the next, and from the first of a pair to the second. */
export function pairsOf(layout: RopeAttrs['layout'], half: number): readonly [step: number, partner: number] {
  return layout === 'neox' ? [1, half] : [2, 1];
}

export function checkRope({ dh, half }: Readonly<Record<'dh' | 'half', number>>, fail: Fail): void {
  if (dh !== 2 * half) fail('cos', `[T, ${half}]`, `[T, dh/2] with dh = ${dh}`);
}

/** Rotates the head at x[start] by row t of the tables. */
export function rotateHead(
  x: Float32Array,
  start: number,
  cos: Float32Array,
  sin: Float32Array,
  t: number,
  dh: number,
  layout: RopeAttrs['layout'],
): void {
  const half = dh / 2;
  const [step, partner] = pairsOf(layout, half);
  for (let c = 0; c < half; c++) {
    const first = start + c * step;
    const [a, b] = [x[first]!, x[first + partner]!];
    const [cosine, sine] = [cos[t * half + c]!, sin[t * half + c]!];
    x[first] = a * cosine - b * sine;
    x[first + partner] = b * cosine + a * sine;
  }
}

export const ROPE_TABLES_FIELDS = {
  positions: field.instance(Uint32Array),
  headDim: field.integer({ min: 0, max: 65_536 }),
  theta: field.number({ above: 0 }),
};

/** Cosines and sines [T, dh/2] of `positions[t] * theta^(-2c/dh)`, computed in double precision and rounded once. */
export function ropeTables(positions: Uint32Array, headDim: number, theta: number): { cos: Float32Array; sin: Float32Array } {
  field.checkFields('ropeTables', { positions, headDim, theta }, ROPE_TABLES_FIELDS);
  if (headDim % 2) throw invalidArgument('ropeTables', 'headDim', String(headDim), 'an even integer');
  const half = headDim / 2;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  for (let c = 0; c < half; c++) {
    const frequency = theta ** ((-2 * c) / headDim);
    for (let t = 0; t < positions.length; t++) {
      cos[t * half + c] = Math.cos(positions[t]! * frequency);
      sin[t * half + c] = Math.sin(positions[t]! * frequency);
    }
  }
  return { cos, sin };
}
