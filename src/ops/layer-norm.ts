import code from '../../kernels/layer-norm.wgsl';
import { defineOp, input, optional, output } from '../backend/op.ts';
import { f32, type GpuKernel } from '../backend/webgpu/binding.ts';
import { rowThreads } from '../backend/webgpu/threads.ts';
import { checkEps } from './rms-norm.ts';

const kernel: GpuKernel = { name: 'layer-norm', code };

/** `y = (x - mean) / sqrt(var + eps) * weight + bias`, population variance. x, y [T, D]; weight, bias [D]. (arXiv 1607.06450) */
export const layerNorm = defineOp<{ eps: number }>()({
  name: 'layer_norm',
  attrs: ['eps'],
  io: { x: input('T', 'D'), weight: input('D'), bias: optional(input('D')), y: output('T', 'D') },
  check: ({ attrs, fail }) => checkEps(attrs.eps, fail),
  cost: ({ T, D }) => ({ flops: 7 * T * D, bytes: 4 * (2 * T * D + 2 * D) }),
  reference({ x, weight, bias, y }, { T, D }, { eps }) {
    for (let t = 0; t < T; t++) {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += x[t * D + d]!;
      const mean = sum / D;
      let squares = 0;
      for (let d = 0; d < D; d++) squares += (x[t * D + d]! - mean) ** 2;
      const scale = 1 / Math.sqrt(squares / D + eps);
      for (let d = 0; d < D; d++) y[t * D + d] = (x[t * D + d]! - mean) * scale * weight[d]! + (bias ? bias[d]! : 0);
    }
  },
  wasm({ kernels }, { x, weight, bias, y }, { T, D }, { eps }) {
    kernels.layer_norm!(x, weight, bias, y, T, D, eps);
  },
  webgpu(gpu, { x, weight, bias, y }, { T, D }, { eps }) {
    gpu.dispatch(kernel, [x, weight, bias, y], [T, D, bias ? 1 : 0, f32(eps)], [T], { THREADS: rowThreads(gpu) });
  },
});
