/** What the decoder and cost cases of every method share. */
import type { DecoderSizes } from '../../src/cost/skip-vision.ts';
import { type LlamaSizes, llamaDecoder } from '../../src/model/families/blocks.ts';
import { Decoder } from '../../src/model/stack/decoder.ts';
import type { KvCache } from '../../src/model/stack/kv-cache.ts';
import type { TensorSource } from '../../src/model/stack/loader.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import type { Array32, Arrays } from './case.ts';
import type { CaseInputs } from './inputs.ts';
import type { Attrs } from './ops.ts';

/** The decoder whose weights are inputs and whose sizes are `attrs.config`. */
export function loadDecoder(inputs: CaseInputs, attrs: Attrs): Promise<Decoder> {
  return Decoder.load(inputs.backend, weightsOf(inputs), llamaDecoder(llamaSizes(attrs.config as Attrs)), 'model.');
}

/** Steps that the case decodes behind its prefill. */
export function stepsOf(inputs: CaseInputs): number {
  return inputs.shape('decode_embeds')[0]!;
}

/** What a prefill left, `hidden` of `rows` and the cache as it stands, then each decoded step. */
export async function decoderResults(
  inputs: CaseInputs,
  { decoder, cache, hidden, rows }: { decoder: Decoder; cache: KvCache; hidden: Tensor<'f32'>; rows: Uint32Array },
): Promise<Arrays> {
  return {
    hidden_rows: list(rows),
    hidden: await inputs.read(hidden),
    kv_lengths: list(Array.from({ length: cache.layers }, (_, layer) => cache.length(layer))),
    next_position: list([cache.nextOrder]),
    decode: await decodeOneByOne(decoder, cache, inputs),
  };
}

export function list(values: ArrayLike<number>): Array32 {
  return { data: Uint32Array.from(values), shape: [values.length] };
}

export function reals(values: readonly number[]): Array32 {
  return { data: Float32Array.from(values), shape: [values.length] };
}

/** Of a cost case. */
export function decoderSizes(attrs: Attrs): DecoderSizes {
  const number = (name: string) => attrs[name] as number;
  return {
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    kvWidth: number('kv_width'),
    numLayers: number('num_hidden_layers'),
  };
}

function weightsOf(inputs: CaseInputs): TensorSource {
  return { has: (name) => inputs.has(name), tensor: (name) => inputs.f32(name) };
}

function llamaSizes(config: Attrs): LlamaSizes {
  const number = (name: string) => config[name] as number;
  return {
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    numLayers: number('num_hidden_layers'),
    numHeads: number('num_attention_heads'),
    numKvHeads: number('num_key_value_heads'),
    headDim: number('head_dim'),
    rmsNormEps: number('rms_norm_eps'),
    ropeTheta: number('rope_theta'),
    ropeLayout: config.rope_layout as 'neox' | 'interleaved',
    hiddenAct: 'silu',
  };
}

async function decodeOneByOne(decoder: Decoder, cache: KvCache, inputs: CaseInputs): Promise<Array32> {
  const embeds = inputs.tensor('decode_embeds');
  const steps = stepsOf(inputs);
  const width = embeds.shape[1]!;
  const outputs = new Float32Array(steps * width);
  for (let step = 0; step < steps; step++) {
    using hidden = await decoder.decode(embeds.slice(step, step + 1), cache);
    outputs.set(await inputs.backend.read(hidden), step * width);
  }
  return { data: outputs, shape: [steps, width] };
}
