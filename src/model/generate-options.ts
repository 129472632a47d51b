import type { SignalOption } from '../backend/backend.ts';
import * as field from '../backend/fields.ts';
import type { FloatDType } from '../backend/tensor.ts';
import type { EncodedImage } from './engine.ts';
import type { ImageInput } from './image/image.ts';
import { METHOD, type Method } from './stack/hooks.ts';
import type { LayerRows } from './stack/pass.ts';
import { SAMPLING_FIELDS, type SamplingOptions } from './text/sampling.ts';

export interface GenerateOptions extends SignalOption, SamplingOptions {
  /** Put into the model's prompt template. Either this or `prompt`. */
  question?: string;
  /** A whole prompt with one `<image>` token for each image. */
  prompt?: string;
  /** One picture, or one for each `<image>` of the prompt; `encodeImage` results save the work for further questions. */
  image?: ImageInput | EncodedImage | readonly (ImageInput | EncodedImage)[];
  method?: Method;
  /** Default 64; less where the context ends. */
  maxTokens?: number;
  /** Token ids that end the answer besides the model's own. */
  stopTokens?: readonly number[];
  /** Prompt rows of an op at a time: the thread is given back more often, and the answer is the same. Default: all at once. */
  chunkSize?: number;
  /** What keys and values are stored as: 'f16' halves the cache and rounds them. Default 'f32'. */
  kvDtype?: FloatDType;
  /** Called for every token of the answer with the text so far. */
  onToken?(token: { id: number; text: string }): void;
  /** Sees the logits [V] that produced each token. */
  onLogits?(logits: Float32Array, step: number): void;
}

const COUNT = field.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
export const GENERATE_FIELDS: field.Fields<GenerateOptions> = {
  ...SAMPLING_FIELDS,
  question: field.optional(field.text),
  prompt: field.optional(field.text),
  image: field.optional(field.anything('a picture, or a list of them', (value) => value !== null)),
  method: field.optional(METHOD),
  maxTokens: field.optional(COUNT),
  stopTokens: field.optional(field.list(field.integer({ min: 0, max: 2 ** 32 }))),
  chunkSize: field.optional(COUNT),
  kvDtype: field.optional(field.oneOf('f32', 'f16')),
  onToken: field.optional(field.callback()),
  onLogits: field.optional(field.callback()),
  signal: field.optional(field.signal),
};

export interface GenerateResult {
  text: string;
  /** Generated ids, the stop token included. */
  ids: number[];
  finishReason: 'stop' | 'length';
  stats: GenerateStats;
}

export interface GenerateStats {
  backend: string;
  method: string;
  /** Rows of the prompt that take part in attention. */
  promptRows: number;
  /** Rows of the prompt that run the FFN in the first layer; see `layers`. */
  ffnRows: number;
  /** Rows of the prompt in every layer. The last one computes no more than the answer needs. */
  layers: readonly LayerRows[];
  generatedTokens: number;
  /** Keys and values of the whole prompt. */
  kvBytesBefore: number;
  /** Keys and values held when decoding starts. */
  kvBytesAfter: number;
  /** Of this call's ops, by closed forms, 2 per multiply-add. */
  encodeFlops: number;
  prefillFlops: number;
  decodeFlops: number;
  encodeMs: number;
  prefillMs: number;
  decodeMs: number;
  /** 0 when the first token ended the answer. */
  decodeMsPerToken: number;
}
