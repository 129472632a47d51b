/** LLaVA: a CLIP tower, two linear layers, a Llama decoder. (arXiv 2304.08485, 2310.03744) */
import { SkipVisionError } from '../../backend/errors.ts';
import type { Activation } from '../../ops/activation.ts';
import type { Fields, JsonObject } from '../files/json.ts';
import type { DecoderSpec } from '../stack/decoder.ts';
import type { TowerSpec } from '../stack/tower-spec.ts';
import { clipBlocks, llamaDecoder } from './blocks.ts';
import type { PartNames, VlmSpec } from './spec.ts';

/** Hugging Face's names of the activations this package has. */
const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
  relu: 'relu',
};

/** What `LlavaConfig` of Hugging Face takes when there is no `vision_config` at all: CLIP ViT-L/14 at 336 pixels. */
const ABSENT_VISION: JsonObject = {
  model_type: 'clip_vision_model',
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
};

const SIZE = { min: 1, max: 2 ** 20 };
const COUNT = { min: 1, max: 2 ** 12 };
const TOKEN = { min: 0, max: 2 ** 24 };
const EPS = { min: 0, max: 1 };

/** As LLaVA was published, and as newer releases of the official library write it. */
const LAYOUTS: readonly PartNames[] = [
  {
    tower: 'vision_tower.vision_model.',
    connector: 'multi_modal_projector.',
    decoder: 'language_model.model.',
    embeddings: 'embed_tokens.weight',
    head: 'language_model.lm_head.weight',
  },
  {
    tower: 'model.vision_tower.vision_model.',
    connector: 'model.multi_modal_projector.',
    decoder: 'model.language_model.',
    embeddings: 'embed_tokens.weight',
    head: 'lm_head.weight',
  },
];

const TEMPLATE = 'USER: <image>\n{question} ASSISTANT:'; // LLaVA-1.5's own

export function readLlava(root: Fields): VlmSpec {
  const vision = readVision(root.object('vision_config', ABSENT_VISION));
  const text = root.object('text_config');
  const layers = vision.blocks.length;
  const blocks = vision.blocks.slice(0, parseFeatureLayer(root, layers));
  const decoder = readDecoder(text);
  if (!root.boolean('multimodal_projector_bias', true)) throw root.unsupported('multimodal_projector_bias', 'true');
  return {
    json: root.json,
    tower: { ...vision, blocks },
    keepsClassRow: root.choice('vision_feature_select_strategy', ['default', 'full'], 'default') === 'full',
    connector: {
      inputs: vision.width,
      outputs: decoder.width,
      activation: activation(root, 'projector_hidden_act', 'gelu'),
      names: ['linear_1', 'linear_2'],
    },
    decoder,
    vocabSize: text.integer('vocab_size', { min: 1, max: 2 ** 24, default: 32000 }),
    maxPositions: text.integer('max_position_embeddings', { min: 1, max: 2 ** 26, default: 2048 }),
    tiedHead: text.boolean('tie_word_embeddings', root.boolean('tie_word_embeddings', false)),
    imageTokenId: root.integer(root.has('image_token_id') ? 'image_token_id' : 'image_token_index', { ...TOKEN, default: 32000 }),
    bosTokenId: (text.has('bos_token_id') ? text : root).integer('bos_token_id', { ...TOKEN, default: 1 }),
    eosTokenIds: parseEos(text.has('eos_token_id') ? text : root),
    promptTemplate: parseTemplate(root) ?? TEMPLATE,
    layouts: LAYOUTS,
    ignores: (name, { tower: prefix }) => isUnused(name, prefix, layers),
  };
}

/** Vision blocks behind the feature layer, and tables that older releases stored. */
function isUnused(name: string, prefix: string, layers: number): boolean {
  if (/\.(position_ids|rotary_emb\.inv_freq)$/.test(name)) return true;
  if (!name.startsWith(prefix)) return false;
  const rest = name.slice(prefix.length);
  const block = /^encoder\.layers\.(\d+)\./.exec(rest);
  return rest.startsWith('post_layernorm.') || (block !== null && Number(block[1]) < layers);
}

/** With all blocks of the checkpoint. */
function readVision(fields: Fields): TowerSpec {
  expectType(fields, 'clip_vision_model');
  const sizes = {
    hiddenSize: fields.integer('hidden_size', { ...SIZE, default: 768 }),
    intermediateSize: fields.integer('intermediate_size', { ...SIZE, default: 3072 }),
    numHeads: fields.integer('num_attention_heads', { ...COUNT, default: 12 }),
    hiddenAct: activation(fields, 'hidden_act', 'quick_gelu'),
    layerNormEps: fields.number('layer_norm_eps', { ...EPS, default: 1e-5 }),
  };
  const layers = fields.integer('num_hidden_layers', { ...COUNT, default: 12 });
  const imageSize = fields.integer('image_size', { min: 1, max: 2 ** 14, default: 224 });
  const patchSize = fields.integer('patch_size', { min: 1, max: 2 ** 14, default: 32 });
  const channels = fields.integer('num_channels', { ...COUNT, default: 3 });
  if (channels !== 3) throw fields.unsupported('num_channels', '3');
  expectDivisor(fields, 'num_attention_heads', sizes.numHeads, 'hidden_size', sizes.hiddenSize);
  expectDivisor(fields, 'patch_size', patchSize, 'image_size', imageSize);
  return {
    imageSize,
    patchSize,
    channels,
    width: sizes.hiddenSize,
    blocks: clipBlocks(sizes, layers),
    eps: sizes.layerNormEps,
    names: {
      patches: 'embeddings.patch_embedding',
      positions: 'embeddings.position_embedding',
      classRow: 'embeddings.class_embedding',
      preNorm: 'pre_layrnorm', // sic: the official library's spelling
    },
  };
}

function readDecoder(fields: Fields): DecoderSpec {
  expectType(fields, 'llama');
  for (const key of ['attention_bias', 'mlp_bias']) {
    if (fields.boolean(key, false)) throw fields.unsupported(key, 'false');
  }
  const hiddenSize = fields.integer('hidden_size', { ...SIZE, default: 4096 });
  const numHeads = fields.integer('num_attention_heads', { ...COUNT, default: 32 });
  if (!fields.has('head_dim')) expectDivisor(fields, 'num_attention_heads', numHeads, 'hidden_size', hiddenSize);
  const headDim = fields.integer('head_dim', { min: 2, max: 2 ** 12, default: hiddenSize / numHeads });
  // Rotary embedding turns pairs of channels.
  if (headDim % 2 !== 0) throw fields.invalid(fields.has('head_dim') ? 'head_dim' : 'hidden_size', `an even head_dim, not ${headDim}`);
  const numKvHeads = fields.integer('num_key_value_heads', { ...COUNT, default: numHeads });
  expectDivisor(fields, 'num_key_value_heads', numKvHeads, 'num_attention_heads', numHeads);
  return llamaDecoder({
    hiddenSize,
    intermediateSize: fields.integer('intermediate_size', { ...SIZE, default: 11008 }),
    numLayers: fields.integer('num_hidden_layers', { ...COUNT, default: 32 }),
    numHeads,
    numKvHeads,
    headDim,
    rmsNormEps: fields.number('rms_norm_eps', { ...EPS, default: 1e-6 }),
    ropeTheta: parseRope(fields),
    hiddenAct: activation(fields, 'hidden_act', 'silu'),
  });
}

/** `rope_theta` and `rope_scaling`; newer files have both in `rope_parameters`. Scaled positions are not supported. */
function parseRope(fields: Fields): number {
  for (const key of ['rope_scaling', 'rope_parameters']) {
    const scaling = fields.object(key);
    const type = scaling.string('rope_type') ?? scaling.string('type') ?? 'default';
    if (type !== 'default') throw fields.unsupported(key, 'no scaling of positions (null, or rope_type "default")');
  }
  const nested = fields.object('rope_parameters');
  return (nested.has('rope_theta') ? nested : fields).number('rope_theta', { min: 0, max: 1e12, default: 10000 });
}

/** One id or a list of ids. */
function parseEos(fields: Fields): readonly number[] {
  const value = fields.get('eos_token_id') ?? 2;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  const valid = ids.length > 0 && ids.every((id) => Number.isInteger(id) && (id as number) >= TOKEN.min && (id as number) <= TOKEN.max);
  if (!valid) throw fields.invalid('eos_token_id', 'a token id or a list of them');
  return ids as number[];
}

function parseTemplate(root: Fields): string | undefined {
  const template = root.string('prompt_template');
  if (template !== undefined && !template.includes('{question}')) throw root.invalid('prompt_template', 'a text with {question} in it');
  return template;
}

/** How many blocks run. */
function parseFeatureLayer(root: Fields, numLayers: number): number {
  if (Array.isArray(root.get('vision_feature_layer'))) throw root.unsupported('vision_feature_layer', 'one layer');
  const layer = root.integer('vision_feature_layer', { min: -numLayers - 1, max: numLayers, default: -2 });
  return layer < 0 ? numLayers + 1 + layer : layer;
}

function activation(fields: Fields, key: string, absent: Activation): Activation {
  const name = fields.string(key) ?? absent;
  if (Object.hasOwn(ACTIVATION_NAMES, name)) return ACTIVATION_NAMES[name];
  throw fields.unsupported(key, Object.keys(ACTIVATION_NAMES).join(', '));
}

/** A type that is left out is the supported one. */
function expectType(fields: Fields, supported: string): void {
  const got = fields.string('model_type') ?? supported;
  if (got === supported) return;
  const argument = fields.name('model_type');
  const expected = 'llava with a clip_vision_model and a llama';
  throw new SkipVisionError('unsupported', `config.json: ${argument} is ${got}; supported: ${expected}`, { argument, got, expected });
}

function expectDivisor(fields: Fields, key: string, divisor: number, ofKey: string, value: number): void {
  if (value % divisor !== 0) throw fields.invalid(key, `a divisor of ${fields.name(ofKey)} = ${value}`);
}
