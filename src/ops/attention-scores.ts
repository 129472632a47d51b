import logitsKernel from '../../kernels/attention-scores.logits.wgsl';
import kernel from '../../kernels/attention-scores.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { widened } from '../backend/f16.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, orF16, output, positionList } from '../backend/op.ts';
import { elementGroups, perWord } from '../backend/webgpu/binding.ts';
import { dot } from './dot.ts';
import { checkKeys, softmaxRow } from './softmax.ts';

export interface AttentionScoresAttrs {
  qPosition: number;
  causal: boolean;
  scale: number;
  /** How the heads are combined. */
  reduce: 'mean' | 'sum';
}

const definition = /* @__PURE__ */ defineOp<AttentionScoresAttrs>()({
  name: 'attention_scores',
  attrs: { qPosition: field.integer({ min: 0 }), causal: field.boolean, scale: field.f32(), reduce: field.oneOf('mean', 'sum') },
  io: {
    q: input('H', 'dh'),
    k: orF16(input('C', 'Hkv', 'dh')),
    kPositions: positionList('S'),
    keyBias: optional(input('S')),
    scores: output('S'),
  },
  check: ({ dims, fail }) => checkKeys(dims, fail),
  cost: ({ S, H, dh, Hkv, E }) => ({ flops: 2 * S * H * dh, bytes: E * S * Hkv * dh + 4 * (H * dh + S) }),
});

const reference: ReferenceBinding<typeof definition> = (
  { q, k: stored, kPositions, keyBias, scores },
  { S, H, dh, Hkv },
  { qPosition, causal, scale, reduce },
) => {
  const k = widened(stored);
  const weights = new Float64Array(S);
  const sums = new Float64Array(S);
  for (let h = 0; h < H; h++) {
    const kv = Math.floor(h / (H / Hkv));
    softmaxRow(weights, (s) => {
      if (causal && kPositions[s]! > qPosition) return undefined;
      return scale * dot(q, h * dh, k, (s * Hkv + kv) * dh, dh) + (keyBias ? keyBias[s]! : 0);
    });
    for (let s = 0; s < S; s++) sums[s]! += weights[s]!;
  }
  for (let s = 0; s < S; s++) scores[s] = reduce === 'mean' ? sums[s]! / H : sums[s]!;
};

const wasm: WasmBinding<typeof definition> = (
  { kernels, scratch },
  { q, k, kPositions, keyBias, scores },
  { S, H, Hkv, dh, E },
  { qPosition, causal, scale, reduce },
) => {
  const half = Number(E === 2);
  const space = scratch(kernels.attention_scores_scratch_bytes(S, dh, half));
  const position = Math.min(qPosition, 0xffffffff); // positions of keys are u32
  const divisor = reduce === 'mean' ? H : 1;
  kernels.attention_scores(scores, q, k, kPositions, keyBias, S, H, Hkv, dh, position, Number(causal), scale, divisor, half, space);
};

const webgpu: GpuBinding<typeof definition> = (
  gpu,
  { q, k, kPositions, keyBias, scores },
  { H, Hkv, dh, S, E },
  { qPosition, causal, scale, reduce },
) => {
  if (S === 0) return;
  const logits = gpu.scratch(4 * Math.max(H, 1) * (S + 2));
  const mask = { causal, qPosition: Math.min(qPosition, 0xffffffff) };
  gpu.dispatch(logitsKernel, [q, k, kPositions, keyBias, logits], { H, Hkv, dh, S, ...mask, hasBias: !!keyBias, scale }, [H], perWord(E));
  gpu.dispatch(kernel, [logits, kPositions, scores], { H, S, ...mask, mean: reduce === 'mean' }, elementGroups(S));
};

/**
 * The attention probabilities of one query row, combined over heads: what FastV and the CLS selection of Skip-Vision
 * rank tokens by. q [H, dh]; k [C, Hkv, dh] of which the first S rows count, f32 or f16; scores [S], 0 for invisible keys.
 */
export const attentionScores: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const attentionScoresOnWasm: Op<typeof definition> = { definition, wasm };
export const attentionScoresOnWebGpu: Op<typeof definition> = { definition, webgpu };
