export type {
  AttrsOf,
  Cost,
  IndexKind,
  Io,
  IoOf,
  Op,
  OpDefinition,
  Operand,
  Signature,
  TensorOperand,
  WeightOperand,
} from '../backend/op.ts';
export { ACTIVATIONS, type Activation } from './activation.ts';
export { type AppendKvAttrs, appendKv } from './append-kv.ts';
export { argmax } from './argmax.ts';
export { type AttentionAttrs, attention, type HiddenKeys } from './attention.ts';
export { type AttentionScoresAttrs, attentionScores } from './attention-scores.ts';
export { compactKv } from './compact-kv.ts';
export { type EmbeddingAttrs, embedding } from './embedding.ts';
export { type GatheredFfnAttrs, gatheredFfn } from './gathered-ffn.ts';
export { layerNorm } from './layer-norm.ts';
export { type LinearAttrs, linear } from './linear.ts';
export { merge } from './merge.ts';
export { type PatchEmbeddingAttrs, patchEmbedding } from './patch-embedding.ts';
export { rmsNorm } from './rms-norm.ts';
export { type RopeAttrs, rope, ropeTables } from './rope.ts';
export { type RopeAppendAttrs, ropeAppend } from './rope-append.ts';
export { type SummaryAttrs, summary } from './summary.ts';
export { type TopKRowsAttrs, topKCount, topKRows } from './top-k-rows.ts';
