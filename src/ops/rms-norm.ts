import code from '../../kernels/rms-norm.wgsl';
import { defineOp, input, output } from '../backend/op.ts';
import { f32, type GpuKernel } from '../backend/webgpu/binding.ts';
import { rowThreads } from '../backend/webgpu/threads.ts';

const kernel: GpuKernel = { name: 'rms-norm', code };

/** `y = x / sqrt(mean(x^2) + eps) * weight`, row by row. x, y [T, D]; weight [D]. (RMSNorm, arXiv 1910.07467) */
export const rmsNorm = defineOp<{ eps: number }>()({
  name: 'rms_norm',
  attrs: ['eps'],
  io: { x: input('T', 'D'), weight: input('D'), y: output('T', 'D') },
  check: ({ attrs, fail }) => checkEps(attrs.eps, fail),
  cost: ({ T, D }) => ({ flops: 4 * T * D, bytes: 4 * (2 * T * D + D) }),
  reference({ x, weight, y }, { T, D }, { eps }) {
    for (let t = 0; t < T; t++) {
      let squares = 0;
      for (let d = 0; d < D; d++) squares += x[t * D + d]! ** 2;
      const scale = 1 / Math.sqrt(squares / D + eps);
      for (let d = 0; d < D; d++) y[t * D + d] = x[t * D + d]! * scale * weight[d]!;
    }
  },
  wasm({ kernels }, { x, weight, y }, { T, D }, { eps }) {
    kernels.rms_norm!(x, weight, y, T, D, eps);
  },
  webgpu(gpu, { x, weight, y }, { T, D }, { eps }) {
    gpu.dispatch(kernel, [x, weight, y], [T, D, f32(eps)], [T], { THREADS: rowThreads(gpu) });
  },
});

/** eps must keep the square root away from zero, also for a row of zeros. */
export function checkEps(eps: number, fail: (argument: string, got: unknown, expected: string) => never): void {
  if (!(eps >= 0 && eps < Number.POSITIVE_INFINITY)) fail('eps', eps, 'a finite number, at least 0');
}

/** The norm of a row in double precision, as part of a product's reference. */
export function normalize(
  out: Float64Array,
  row: Float32Array,
  norm: 'rms' | 'layer' | 'none',
  eps: number,
  weight?: Float32Array,
  bias?: Float32Array,
): void {
  const n = row.length;
  const mean = norm === 'layer' ? row.reduce((sum, value) => sum + value, 0) / n : 0;
  let squares = 0;
  for (let d = 0; d < n; d++) squares += (row[d]! - mean) ** 2;
  const scale = norm === 'none' ? 1 : 1 / Math.sqrt(squares / n + eps);
  for (let d = 0; d < n; d++) out[d] = (row[d]! - mean) * scale * (weight ? weight[d]! : 1) + (bias ? bias[d]! : 0);
}
