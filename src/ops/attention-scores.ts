import logitsCode from '../../kernels/attention-scores.logits.wgsl';
import code from '../../kernels/attention-scores.wgsl';
import { widened } from '../backend/f16.ts';
import { defineOp, input, optional, orF16, output, positionList } from '../backend/op.ts';
import { f32, type GpuKernel, perWord } from '../backend/webgpu/binding.ts';
import { elementGroups, rowThreads } from '../backend/webgpu/threads.ts';
import { checkHeads, softmaxRow } from './attention.ts';
import { dot } from './dot.ts';

const kernel: GpuKernel = { name: 'attention-scores', code };
const logitsKernel: GpuKernel = { name: 'attention-scores.logits', code: logitsCode };

export interface AttentionScoresAttrs {
  qPosition: number;
  causal: boolean;
  scale: number;
  /** How the heads are combined. */
  reduce: 'mean' | 'sum';
}

/**
 * The attention probabilities of one query row, combined over heads: what FastV and the CLS selection of Skip-Vision
 * rank tokens by. q [H, dh]; k [C, Hkv, dh] of which the first S rows count, f32 or f16; scores [S], 0 for invisible keys.
 */
export const attentionScores = defineOp<AttentionScoresAttrs>()({
  name: 'attention_scores',
  attrs: ['qPosition', 'causal', 'scale', 'reduce'],
  io: {
    q: input('H', 'dh'),
    k: orF16(input('C', 'Hkv', 'dh')),
    kPositions: positionList('S'),
    keyBias: optional(input('S')),
    scores: output('S'),
  },
  check({ dims, attrs, fail }) {
    checkHeads(dims.H, dims.Hkv, fail);
    if (dims.S > dims.C) fail('kPositions', `[${dims.S}]`, `at most the ${dims.C} rows of k`);
    if (!Number.isFinite(attrs.scale)) fail('scale', attrs.scale, 'a finite number');
    if (!Number.isInteger(attrs.qPosition) || attrs.qPosition < 0) fail('qPosition', attrs.qPosition, 'a non-negative integer');
    if (attrs.reduce !== 'mean' && attrs.reduce !== 'sum') fail('reduce', `"${attrs.reduce}"`, 'mean or sum');
  },
  cost: ({ S, H, dh, Hkv, E }) => ({ flops: 2 * S * H * dh, bytes: E * S * Hkv * dh + 4 * (H * dh + S) }),
  reference({ q, k: stored, kPositions, keyBias, scores }, { S, H, dh, Hkv }, { qPosition, causal, scale, reduce }) {
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
  },
  wasm({ kernels, scratch }, { q, k, kPositions, keyBias, scores }, { S, H, Hkv, dh, E }, { qPosition, causal, scale, reduce }) {
    const half = Number(E === 2);
    const rows = scratch(4 * (2 * (S + 3 + dh) + half * (4 * dh + 1)));
    const position = Math.min(qPosition, 0xffffffff); // positions of keys are u32
    const divisor = reduce === 'mean' ? H : 1;
    kernels.attention_scores!(scores, q, k, kPositions, keyBias, S, H, Hkv, dh, position, Number(causal), scale, divisor, half, rows);
  },
  webgpu(gpu, { q, k, kPositions, keyBias, scores }, { H, Hkv, dh, S, E }, { qPosition, causal, scale, reduce }) {
    if (S === 0) return;
    const logits = gpu.scratch(4 * Math.max(H, 1) * (S + 2));
    const mask = [causal ? 1 : 0, Math.min(qPosition, 0xffffffff)];
    const params = [H, Hkv, dh, S, ...mask, keyBias ? 1 : 0, f32(scale)];
    gpu.dispatch(logitsKernel, [q, k, kPositions, keyBias, logits], params, [H], { THREADS: rowThreads(gpu, 256), ...perWord(E) });
    gpu.dispatch(kernel, [logits, kPositions, scores], [H, S, ...mask, reduce === 'mean' ? 1 : 0], elementGroups(S));
  },
});
