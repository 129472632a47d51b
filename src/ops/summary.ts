import scoreCode from '../../kernels/summary.score.wgsl';
import code from '../../kernels/summary.wgsl';
import { defineOp, input, optional, output } from '../backend/op.ts';
import { f32, type GpuKernel } from '../backend/webgpu/binding.ts';
import { rowThreads } from '../backend/webgpu/threads.ts';
import { checkEps } from './rms-norm.ts';

const kernel: GpuKernel = { name: 'summary', code };
const scoreKernel: GpuKernel = { name: 'summary.score', code: scoreCode };

export interface SummaryAttrs {
  eps: number;
  scoreBias: number;
}

/**
 * Skip-Vision's adaptive summary token (arXiv 2503.21817, released code): softmax over the tokens of
 * `scoreWeight . LayerNorm(t) + scoreBias`, then the weighted sum of the tokens themselves, not of the normalised ones.
 * tokens [n, D]; normWeight, normBias, scoreWeight [D]; y [1, D]. No tokens give zeros.
 */
export const summary = defineOp<SummaryAttrs>()({
  name: 'summary',
  attrs: ['eps', 'scoreBias'],
  io: {
    tokens: input('n', 'D'),
    normWeight: input('D'),
    normBias: optional(input('D')),
    scoreWeight: input('D'),
    y: output('one', 'D'),
  },
  check({ dims, attrs, fail }) {
    checkEps(attrs.eps, fail);
    if (dims.one !== 1) fail('y', `[${dims.one}, ${dims.D}]`, `[1, ${dims.D}]`);
    if (!Number.isFinite(attrs.scoreBias)) fail('scoreBias', attrs.scoreBias, 'a finite number');
  },
  cost: ({ n, D }) => ({ flops: 4 * n * D, bytes: 4 * (n * D + 4 * D) }),
  reference({ tokens, normWeight, normBias, scoreWeight, y }, { n, D }, { eps, scoreBias }) {
    const weights = new Float64Array(n);
    let peak = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < n; t++) {
      const token = tokens.subarray(t * D, (t + 1) * D);
      const mean = token.reduce((sum, value) => sum + value, 0) / D;
      const variance = token.reduce((sum, value) => sum + (value - mean) ** 2, 0) / D;
      let score = scoreBias;
      for (let d = 0; d < D; d++) {
        const normed = ((token[d]! - mean) / Math.sqrt(variance + eps)) * normWeight[d]! + (normBias ? normBias[d]! : 0);
        score += normed * scoreWeight[d]!;
      }
      weights[t] = score;
      if (!(score <= peak)) peak = score;
    }
    const exponentials = weights.map((score) => Math.exp(score - peak));
    const total = exponentials.reduce((sum, value) => sum + value, 0);
    for (let d = 0; d < D; d++) {
      let sum = 0;
      for (let t = 0; t < n; t++) sum += (exponentials[t]! / total) * tokens[t * D + d]!;
      y[d] = sum;
    }
  },
  wasm({ kernels, scratch }, { tokens, normWeight, normBias, scoreWeight, y }, { n, D }, { eps, scoreBias }) {
    kernels.summary!(tokens, normWeight, normBias, scoreWeight, y, n, D, eps, scoreBias, scratch(4 * (n + D + 3)));
  },
  webgpu(gpu, { tokens, normWeight, normBias, scoreWeight, y }, { n, D }, { eps, scoreBias }) {
    const scores = gpu.scratch(4 * Math.max(n, 1));
    const params = [n, D, normBias ? 1 : 0, f32(eps), f32(scoreBias)];
    const THREADS = rowThreads(gpu);
    gpu.dispatch(scoreKernel, [tokens, normWeight, normBias, scoreWeight, scores], params, [n], { THREADS });
    gpu.dispatch(kernel, [tokens, scores, y], [n, D], [Math.ceil(D / THREADS)], { THREADS });
  },
});
