/** What a method may change between the pixels and the answer. Every hook is optional; no hook, no work. */
import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import type { HiddenKeys } from '../../ops/attention.ts';
import type { Part, Sequence } from './sequence.ts';

/** What the vision encoder and the projector made of one image. */
export interface ImageFeatures {
  /** Projected patches in raster order [N, D], in the decoder's embedding space. */
  rows: Tensor<'f32'>;
  /** With `encoder.clsScores`: CLS-row attention probabilities, summed over heads [1 + N]; element 0 is CLS itself. */
  clsScores?: Tensor<'f32'>;
}

export interface ComposeContext {
  backend: Backend;
  /** A parameter the checkpoint holds for methods, e.g. `skip_vision.summary.norm.weight`. Throws when it is missing. */
  parameter(name: string, shape: readonly number[]): Tensor<'f32'>;
  signal?: AbortSignal;
}

/** What one decoder layer does with the rows of the prompt. */
export interface LayerPlan {
  /** Rows of the sequence that run the FFN, ascending; the others take part in attention only. Default all. */
  ffnRows?: Uint32Array;
  /** Keys that later queries do not see. */
  hiddenKeys?: readonly HiddenKeys[];
}

export interface Method {
  readonly name: string;
  /** Side outputs the method needs of the vision encoder. */
  readonly encoder?: { clsScores?: boolean };
  /** The rows an image contributes to the sequence, in order; the caller disposes them. Default: all projected patches. */
  compose?(image: ImageFeatures, context: ComposeContext): Promise<Part[]>;
  /** Asked for every layer during prefill; decode rows always run in full. */
  layer?(index: number, sequence: Sequence): LayerPlan;
  /** Positions whose keys and values leave the cache once the whole prompt is in. Half-open ranges. */
  evict?(sequence: Sequence): readonly (readonly [start: number, end: number])[];
}
