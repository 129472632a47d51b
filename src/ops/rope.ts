import code from '../../kernels/rope.wgsl';
import { defineOp, inout, input } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { elementGroups } from '../backend/webgpu/threads.ts';

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
    if (dims.dh !== 2 * dims.half) fail('cos', `[${dims.T}, ${dims.half}]`, `[T, dh/2] with dh = ${dims.dh}`);
    if (attrs.layout !== 'neox' && attrs.layout !== 'interleaved') fail('layout', `"${attrs.layout}"`, 'neox or interleaved');
  },
  cost: ({ T, H, dh }) => ({ flops: 3 * T * H * dh, bytes: 4 * (2 * T * H * dh + T * dh) }),
  reference({ x, cos, sin }, { T, H, dh, half }, { layout }) {
    const [step, partner] = layout === 'neox' ? [1, half] : [2, 1];
    for (let t = 0; t < T; t++) {
      for (let h = 0; h < H; h++) {
        for (let c = 0; c < half; c++) {
          const first = (t * H + h) * dh + c * step;
          const [a, b] = [x[first]!, x[first + partner]!];
          const [cosine, sine] = [cos[t * half + c]!, sin[t * half + c]!];
          x[first] = a * cosine - b * sine;
          x[first + partner] = b * cosine + a * sine;
        }
      }
    }
  },
  wasm({ kernels }, { x, cos, sin }, { T, H, dh }, { layout }) {
    (layout === 'neox' ? kernels.rope_neox! : kernels.rope_interleaved!)(x, cos, sin, T, H, dh);
  },
  webgpu(gpu, { x, cos, sin }, { T, H, half }, { layout }) {
    const pairs = T * H * half;
    const [step, partner] = layout === 'neox' ? [1, half] : [2, 1];
    gpu.dispatch(kernel, [x, cos, sin], [pairs, H, half, step, partner], elementGroups(pairs));
  },
});

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
