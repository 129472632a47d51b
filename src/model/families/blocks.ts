/** Blocks as the official library names their tensors. */
import { invalidArgument } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { ACTIVATIONS, type Activation } from '../../ops/activation.ts';
import type { BlockSpec, RopeSpec } from '../stack/block.ts';
import type { DecoderSpec } from '../stack/decoder.ts';

/** Sizes of a Llama-style decoder. */
export interface LlamaSizes {
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeLayout?: RopeSpec['layout'];
  hiddenAct: Activation;
}

const EXTENT = field.integer({ min: 1, max: 2 ** 31 });
export const LLAMA_FIELDS: field.Fields<LlamaSizes> = {
  hiddenSize: EXTENT,
  intermediateSize: EXTENT,
  numLayers: field.integer({ min: 0, max: 2 ** 16 }),
  numHeads: EXTENT,
  numKvHeads: EXTENT,
  headDim: EXTENT,
  rmsNormEps: field.number({ min: 0 }),
  ropeTheta: field.number({ above: 0 }),
  ropeLayout: field.optional(field.oneOf('neox', 'interleaved')),
  hiddenAct: field.oneOf(...ACTIVATIONS),
};

/** RMSNorm, rotary positions, grouped-query attention, gated FFN; pre-norm residual blocks. */
export function llamaDecoder(sizes: LlamaSizes): DecoderSpec {
  field.checkFields('llamaDecoder', sizes, LLAMA_FIELDS, 'sizes');
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads } = sizes;
  if (numHeads % numKvHeads !== 0)
    throw invalidArgument('llamaDecoder', 'numKvHeads', `${numKvHeads}`, `a divisor of the ${numHeads} heads`);
  const block = (layer: number): BlockSpec => ({
    width: hiddenSize,
    heads: numHeads,
    kvHeads: numKvHeads,
    headDim: sizes.headDim,
    inner: intermediateSize,
    norm: 'rms',
    eps: sizes.rmsNormEps,
    activation: sizes.hiddenAct,
    gated: true,
    causal: true,
    rope: { theta: sizes.ropeTheta, layout: sizes.ropeLayout ?? 'neox' },
    names: {
      norm1: `layers.${layer}.input_layernorm`,
      q: `layers.${layer}.self_attn.q_proj`,
      k: `layers.${layer}.self_attn.k_proj`,
      v: `layers.${layer}.self_attn.v_proj`,
      o: `layers.${layer}.self_attn.o_proj`,
      norm2: `layers.${layer}.post_attention_layernorm`,
      gate: `layers.${layer}.mlp.gate_proj`,
      up: `layers.${layer}.mlp.up_proj`,
      down: `layers.${layer}.mlp.down_proj`,
    },
  });
  const blocks = Array.from({ length: numLayers }, (_, layer) => block(layer));
  return { blocks, width: hiddenSize, norm: { name: 'norm', eps: sizes.rmsNormEps } };
}

/** Sizes of a CLIP-style vision tower. */
export interface ClipSizes {
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  hiddenAct: Activation;
  layerNormEps: number;
}

/** LayerNorm, attention over all rows, plain FFN, biases; pre-norm residual blocks. */
export function clipBlocks({ hiddenSize, intermediateSize, numHeads, hiddenAct, layerNormEps }: ClipSizes, count: number): BlockSpec[] {
  return Array.from({ length: count }, (_, layer) => ({
    width: hiddenSize,
    heads: numHeads,
    kvHeads: numHeads,
    headDim: hiddenSize / numHeads,
    inner: intermediateSize,
    norm: 'layer',
    eps: layerNormEps,
    activation: hiddenAct,
    gated: false,
    causal: false,
    names: {
      norm1: `encoder.layers.${layer}.layer_norm1`,
      q: `encoder.layers.${layer}.self_attn.q_proj`,
      k: `encoder.layers.${layer}.self_attn.k_proj`,
      v: `encoder.layers.${layer}.self_attn.v_proj`,
      o: `encoder.layers.${layer}.self_attn.out_proj`,
      norm2: `encoder.layers.${layer}.layer_norm2`,
      up: `encoder.layers.${layer}.mlp.fc1`,
      down: `encoder.layers.${layer}.mlp.fc2`,
    },
  }));
}
