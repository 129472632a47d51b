/** The Hugging Face `config.json` of a LLaVA model, checked and with its defaults filled in. */
import { SkipVisionError } from '../../backend/errors.ts';
import type { Activation } from '../../ops/activation.ts';
import { Fields, type JsonObject } from '../files/json.ts';

export interface VisionConfig {
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  imageSize: number;
  patchSize: number;
  numChannels: number;
  hiddenAct: Activation;
  layerNormEps: number;
}

export interface TextConfig {
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  vocabSize: number;
  maxPositions: number;
  hiddenAct: Activation;
  tieWordEmbeddings: boolean;
  eosTokenIds: readonly number[];
  bosTokenId: number;
}

/** How a checkpoint was trained with Skip-Vision: this package's own block `skip_vision` of `config.json`. */
export interface SkipVisionConfig {
  retained: number;
  skipped: number;
  /** The last skipped row is an ordinary row: it feeds the FFN and stays in the cache. */
  passLast: boolean;
  summaryNormEps: number;
  /** `hidden` hides the skipped rows from the text after the image already in prefill. */
  mask: 'causal' | 'hidden';
}

export interface LlavaConfig {
  vision: VisionConfig;
  text: TextConfig;
  imageTokenId: number;
  /** Index into the vision tower's hidden states (0 = embeddings); negative counts from the end. */
  visionFeatureLayer: number;
  /** `default` drops the CLS row, `full` keeps it. */
  visionFeatureSelectStrategy: 'default' | 'full';
  projectorHiddenAct: Activation;
  /** Prompt with `{question}` in it. */
  promptTemplate?: string;
  skipVision?: SkipVisionConfig;
}

const FILE = 'config.json';

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

/**
 * Reads a parsed `config.json`. Absent fields have the defaults of Hugging Face's LlavaConfig, CLIPVisionConfig and
 * LlamaConfig, because their files leave out what equals a default.
 * @throws `unsupported` for another kind of model or a feature of it that is not here; `invalid-checkpoint` naming the
 * field for a value that no model can have.
 */
export function parseConfig(json: unknown): LlavaConfig {
  const root = new Fields(FILE, json);
  expectType(root, 'llava');
  const visionFields = root.object('vision_config', ABSENT_VISION);
  const textFields = root.object('text_config');
  const vision = parseVision(visionFields);
  const text = parseText(textFields, root);
  if (!root.boolean('multimodal_projector_bias', true)) throw root.unsupported('multimodal_projector_bias', 'true');
  return {
    vision,
    text,
    imageTokenId: root.integer(root.has('image_token_id') ? 'image_token_id' : 'image_token_index', { ...TOKEN, default: 32000 }),
    visionFeatureLayer: parseFeatureLayer(root, vision.numLayers),
    visionFeatureSelectStrategy: parseStrategy(root),
    projectorHiddenAct: activation(root, 'projector_hidden_act', 'gelu'),
    promptTemplate: parseTemplate(root),
    skipVision: parseSkipVision(root, (vision.imageSize / vision.patchSize) ** 2),
  };
}

function parseVision(fields: Fields): VisionConfig {
  expectType(fields, 'clip_vision_model', 'clip_vision_model');
  const config: VisionConfig = {
    hiddenSize: fields.integer('hidden_size', { ...SIZE, default: 768 }),
    intermediateSize: fields.integer('intermediate_size', { ...SIZE, default: 3072 }),
    numLayers: fields.integer('num_hidden_layers', { ...COUNT, default: 12 }),
    numHeads: fields.integer('num_attention_heads', { ...COUNT, default: 12 }),
    imageSize: fields.integer('image_size', { min: 1, max: 2 ** 14, default: 224 }),
    patchSize: fields.integer('patch_size', { min: 1, max: 2 ** 14, default: 32 }),
    numChannels: fields.integer('num_channels', { ...COUNT, default: 3 }),
    hiddenAct: activation(fields, 'hidden_act', 'quick_gelu'),
    layerNormEps: fields.number('layer_norm_eps', { ...EPS, default: 1e-5 }),
  };
  if (config.numChannels !== 3) throw fields.unsupported('num_channels', '3');
  expectDivisor(fields, 'num_attention_heads', config.numHeads, 'hidden_size', config.hiddenSize);
  expectDivisor(fields, 'patch_size', config.patchSize, 'image_size', config.imageSize);
  return config;
}

function parseText(fields: Fields, root: Fields): TextConfig {
  expectType(fields, 'llama', 'llama');
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
  const vocabSize = fields.integer('vocab_size', { min: 1, max: 2 ** 24, default: 32000 });
  return {
    hiddenSize,
    intermediateSize: fields.integer('intermediate_size', { ...SIZE, default: 11008 }),
    numLayers: fields.integer('num_hidden_layers', { ...COUNT, default: 32 }),
    numHeads,
    numKvHeads,
    headDim,
    rmsNormEps: fields.number('rms_norm_eps', { ...EPS, default: 1e-6 }),
    ropeTheta: parseRope(fields),
    vocabSize,
    maxPositions: fields.integer('max_position_embeddings', { min: 1, max: 2 ** 26, default: 2048 }),
    hiddenAct: activation(fields, 'hidden_act', 'silu'),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', root.boolean('tie_word_embeddings', false)),
    eosTokenIds: parseEos(fields.has('eos_token_id') ? fields : root),
    bosTokenId: (fields.has('bos_token_id') ? fields : root).integer('bos_token_id', { ...TOKEN, default: 1 }),
  };
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

function parseFeatureLayer(root: Fields, numLayers: number): number {
  if (Array.isArray(root.get('vision_feature_layer'))) throw root.unsupported('vision_feature_layer', 'one layer');
  return root.integer('vision_feature_layer', { min: -numLayers - 1, max: numLayers, default: -2 });
}

function parseStrategy(root: Fields): 'default' | 'full' {
  const strategy = root.string('vision_feature_select_strategy') ?? 'default';
  if (strategy === 'default' || strategy === 'full') return strategy;
  throw root.unsupported('vision_feature_select_strategy', '"default", "full"');
}

function parseSkipVision(root: Fields, patches: number): SkipVisionConfig | undefined {
  const fields = root.object('skip_vision', { enabled: false });
  if (!fields.boolean('enabled', true)) return undefined;
  const retained = fields.integer('num_retained', { min: 1, max: patches });
  const mask = fields.string('attention_mask') ?? 'causal';
  if (mask !== 'causal' && mask !== 'hidden') throw fields.unsupported('attention_mask', '"causal", "hidden"');
  return {
    retained,
    skipped: fields.integer('num_skipped', { min: 0, max: patches - retained }),
    passLast: fields.boolean('pass_last', false),
    summaryNormEps: fields.number('summary_norm_eps', { ...EPS, default: 1e-5 }),
    mask,
  };
}

function activation(fields: Fields, key: string, absent: Activation): Activation {
  const name = fields.string(key) ?? absent;
  if (Object.hasOwn(ACTIVATION_NAMES, name)) return ACTIVATION_NAMES[name];
  throw fields.unsupported(key, Object.keys(ACTIVATION_NAMES).join(', '));
}

function expectType(fields: Fields, supported: string, absent?: string): void {
  const type = fields.string('model_type') ?? absent;
  if (type === supported) return;
  const argument = fields.name('model_type');
  const got = type ?? 'missing';
  const expected = 'llava with a clip_vision_model and a llama';
  throw new SkipVisionError('unsupported', `${FILE}: ${argument} is ${got}; supported: ${expected}`, { argument, got, expected });
}

function expectDivisor(fields: Fields, key: string, divisor: number, ofKey: string, value: number): void {
  if (value % divisor !== 0) throw fields.invalid(key, `a divisor of ${fields.name(ofKey)} = ${value}`);
}
