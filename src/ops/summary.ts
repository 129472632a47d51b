import scoreKernel from '../../kernels/summary.score.wgsl';
import kernel from '../../kernels/summary.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, output } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';
import { dot } from './dot.ts';
import { normalize } from './norm.ts';
import { softmaxRow } from './softmax.ts';

export interface SummaryAttrs {
  eps: number;
  scoreBias: number;
}

const definition = /* @__PURE__ */ defineOp<SummaryAttrs>()({
  name: 'summary',
  attrs: { eps: field.f32({ min: 0 }), scoreBias: field.f32() },
  io: {
    tokens: input('n', 'D'),
    normWeight: input('D'),
    normBias: optional(input('D')),
    scoreWeight: input('D'),
    y: output('one', 'D'),
  },
  check({ dims, fail }) {
    if (dims.one !== 1) fail('y', `[${dims.one}, ${dims.D}]`, `[1, ${dims.D}]`);
  },
  cost: ({ n, D }) => ({ flops: 4 * n * D, bytes: 4 * (n * D + 4 * D) }),
});

const reference: ReferenceBinding<typeof definition> = ({ tokens, normWeight, normBias, scoreWeight, y }, { n, D }, { eps, scoreBias }) => {
  const weights = new Float64Array(n);
  const normed = new Float64Array(D);
  softmaxRow(weights, (t) => {
    normalize(normed, tokens.subarray(t * D, (t + 1) * D), 'layer', eps, normWeight, normBias);
    return scoreBias + dot(normed, 0, scoreWeight, 0, D);
  });
  for (let d = 0; d < D; d++) {
    let sum = 0;
    for (let t = 0; t < n; t++) sum += weights[t]! * tokens[t * D + d]!;
    y[d] = sum;
  }
};

const wasm: WasmBinding<typeof definition> = (
  { kernels, scratch },
  { tokens, normWeight, normBias, scoreWeight, y },
  { n, D },
  { eps, scoreBias },
) => {
  kernels.summary(tokens, normWeight, normBias, scoreWeight, y, n, D, eps, scoreBias, scratch(kernels.summary_scratch_bytes(n, D)));
};

const webgpu: GpuBinding<typeof definition> = (gpu, { tokens, normWeight, normBias, scoreWeight, y }, { n, D }, { eps, scoreBias }) => {
  const scores = gpu.scratch(4 * Math.max(n, 1));
  const params = { n, D, hasNormBias: !!normBias, eps, scoreBias };
  gpu.dispatch(scoreKernel, [tokens, normWeight, normBias, scoreWeight, scores], params, [n]);
  gpu.dispatch(kernel, [tokens, scores, y], { n, D }, elementGroups(D));
};

/**
 * Skip-Vision's adaptive summary token (arXiv 2503.21817, released code): softmax over the tokens of
 * `scoreWeight . LayerNorm(t) + scoreBias`, then the weighted sum of the tokens themselves, not of the normalised ones.
 * tokens [n, D]; normWeight, normBias, scoreWeight [D]; y [1, D]. No tokens give zeros.
 */
export const summary: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const summaryOnWasm: Op<typeof definition> = { definition, wasm };
export const summaryOnWebGpu: Op<typeof definition> = { definition, webgpu };
