import code from '../../kernels/rope.wgsl';
import { defineOp, inout, input } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';
import type { WasmKernels } from '../backend/wasm/binding.ts';

const kernel: GpuKernel = { name: 'rope', code };

export interface RopeAttrs {
  /** 'neox' rotates elements (c, c + dh/2) together (Hugging Face Llama), 'interleaved' (2c, 2c + 1). */
  layout: 'neox' | 'interleaved';
}

/**
 * Rotary position embedding in place. x [T, H, dh]; cos, sin [T, dh/2] from `ropeTables`, so that angles are computed
 * in double precision on every backend. Pair c: (a, b) -> (a cos - b sin, b cos + a sin). (RoFormer, arXiv 2104.09864)
 */
export const rope = defineOp<RopeAttrs>()({
  name: 'rope',
  attrs: ['layout'],
  io: { x: inout('T', 'H', 'dh'), cos: input('T', 'half'), sin: input('T', 'half') },
  check({ dims, attrs, fail }) {
    checkRope(dims, attrs, fail);
  },
  cost: ({ T, H, dh }) => ({ flops: 3 * T * H * dh, bytes: 4 * (2 * T * H * dh + T * dh) }),
  reference({ x, cos, sin }, { T, H, dh }, { layout }) {
    for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) rotateHead(x, (t * H + h) * dh, cos, sin, t, dh, layout);
  },
  wasm({ kernels }, { x, cos, sin }, { T, H, dh }, { layout }) {
    wasmRope(kernels, layout)(x, cos, sin, 0, T, H, dh);
  },
  webgpu(gpu, { x, cos, sin }, { T, H, half }, { layout }) {
    const pairs = T * H * half;
    const [step, partner] = pairsOf(layout, half);
    gpu.dispatch(kernel, [x, cos, sin], [pairs, H, half, step, partner], elementGroups(pairs));
  },
});

/** Elements from one pair to the next, and from the first of a pair to the second. */
export function pairsOf(layout: RopeAttrs['layout'], half: number): readonly [step: number, partner: number] {
  return layout === 'neox' ? [1, half] : [2, 1];
}

export function wasmRope(kernels: WasmKernels, layout: RopeAttrs['layout']): WasmKernels[string] {
  return kernels[`rope_${layout}`]!;
}

export function checkRope(
  { dh, half }: { dh: number; half: number },
  { layout }: RopeAttrs,
  fail: (argument: string, got: unknown, expected: string) => never,
): void {
  if (dh !== 2 * half) fail('cos', `[T, ${half}]`, `[T, dh/2] with dh = ${dh}`);
  if (layout !== 'neox' && layout !== 'interleaved') fail('layout', `"${layout}"`, 'neox or interleaved');
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

/** Cosines and sines [T, dh/2] of `positions[t] * theta^(-2c/dh)`, computed in double precision and rounded once. */
export function ropeTables(positions: Uint32Array, headDim: number, theta: number): { cos: Float32Array; sin: Float32Array } {
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
