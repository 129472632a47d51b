import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { trainedMethod } from '../../src/methods/index.ts';
import { parseConfig } from '../../src/model/families/index.ts';
import { parsePreprocessorConfig } from '../../src/model/image/preprocess.ts';

async function json(path: string): Promise<Record<string, object>> {
  return JSON.parse(await readFile(path, 'utf8')) as Record<string, object>;
}

function refusal(code: string, argument: string): object {
  return expect.objectContaining({ code, argument });
}

describe('parseConfig', () => {
  test('tiny-vlm, with its Skip-Vision block', async () => {
    const spec = parseConfig(await json('examples/tiny-vlm/skip/config.json'));
    expect(spec).toMatchObject({
      tower: { imageSize: 96, patchSize: 8, channels: 3, width: 96, eps: 1e-5 },
      keepsClassRow: false,
      connector: { inputs: 96, outputs: 128, activation: 'gelu' },
      decoder: { width: 128, norm: { eps: 1e-5 } },
      vocabSize: 66,
      maxPositions: 512,
      tiedHead: true,
      eosTokenIds: [2],
      bosTokenId: 1,
      imageTokenId: 4,
      promptTemplate: '<bos> user : <image> {question} assistant :',
    });
    expect(spec.tower.blocks).toHaveLength(3); // vision_feature_layer is -2
    for (const block of spec.tower.blocks) {
      const attention = { width: 96, heads: 3, kvHeads: 3, headDim: 32, causal: false };
      expect(block).toMatchObject({ ...attention, inner: 384, norm: 'layer', eps: 1e-5, activation: 'quick_gelu', gated: false });
      expect(block.rope).toBeUndefined();
    }
    expect(spec.decoder.blocks).toHaveLength(4);
    for (const block of spec.decoder.blocks) {
      const attention = { width: 128, heads: 4, kvHeads: 2, headDim: 32, causal: true, rope: { theta: 10000, layout: 'neox' } };
      expect(block).toMatchObject({ ...attention, inner: 352, norm: 'rms', eps: 1e-5, activation: 'silu', gated: true });
    }
    const key = 'skip-vision {"retained":25,"skipped":39,"passLast":false,"summaryNormEps":0.00001}';
    expect(trainedMethod(spec)).toMatchObject({ name: 'skip-vision', key });
    expect(trainedMethod(parseConfig(await json('examples/tiny-vlm/full/config.json'))).name).toBe('none');
  });

  test('fields left out have the defaults of Hugging Face, as in llava-1.5-7b-hf', () => {
    const vision = { model_type: 'clip_vision_model', hidden_size: 1024, image_size: 336, patch_size: 14, intermediate_size: 4096 };
    const text = { model_type: 'llama', max_position_embeddings: 4096, rms_norm_eps: 1e-5, vocab_size: 32064, rope_scaling: null };
    const config = parseConfig({
      model_type: 'llava',
      image_token_index: 32000,
      vision_config: { ...vision, num_attention_heads: 16, num_hidden_layers: 24 },
      text_config: text,
    });
    const { tower, decoder } = config;
    expect([tower.blocks.length, decoder.blocks.length]).toEqual([23, 32]);
    expect(tower.blocks[0]).toMatchObject({ width: 1024, heads: 16, headDim: 64, inner: 4096, activation: 'quick_gelu', eps: 1e-5 });
    expect(decoder.blocks[31]).toMatchObject({ width: 4096, heads: 32, kvHeads: 32, headDim: 128, inner: 11008, activation: 'silu' });
    expect(decoder.blocks[31]).toMatchObject({ eps: 1e-5, rope: { theta: 10000 }, names: { q: 'layers.31.self_attn.q_proj' } });
    expect(config).toMatchObject({ vocabSize: 32064, maxPositions: 4096, tiedHead: false, eosTokenIds: [2], bosTokenId: 1 });
  });

  test('nothing but a type is a LLaVA 1.5', () => {
    const { tower, decoder, ...rest } = parseConfig({ model_type: 'llava' });
    expect(tower).toMatchObject({ width: 1024, imageSize: 336, patchSize: 14 });
    expect([tower.blocks.length, tower.blocks[0]!.heads]).toEqual([23, 16]);
    expect(decoder.norm.eps).toBe(1e-6);
    expect(rest).toMatchObject({ vocabSize: 32000, maxPositions: 2048, imageTokenId: 32000 });
  });

  test('newer spellings: rope_parameters, a list of end tokens, head_dim apart from the hidden size', () => {
    const { decoder, eosTokenIds } = parseConfig({
      model_type: 'llava',
      text_config: {
        rope_parameters: { rope_type: 'default', rope_theta: 5e5 },
        eos_token_id: [2, 7],
        head_dim: 64,
        num_attention_heads: 30,
        num_key_value_heads: 10,
      },
    });
    expect(decoder.blocks[0]).toMatchObject({ rope: { theta: 5e5 }, headDim: 64, heads: 30, kvHeads: 10 });
    expect(eosTokenIds).toEqual([2, 7]);
  });

  test.each([
    ['silu', 'silu'],
    ['gelu', 'gelu'],
    ['gelu_pytorch_tanh', 'gelu_tanh'],
    ['gelu_new', 'gelu_tanh'],
    ['quick_gelu', 'quick_gelu'],
    ['relu', 'relu'],
  ])('activation %s is %s', (name, expected) => {
    expect(parseConfig({ model_type: 'llava', projector_hidden_act: name }).connector.activation).toBe(expected);
  });

  const text = (fields: object) => ({ model_type: 'llava', text_config: fields });
  const vision = (fields: object) => ({ model_type: 'llava', vision_config: fields });
  const skip = (fields: object) => ({ model_type: 'llava', skip_vision: { num_retained: 1, num_skipped: 1, ...fields } });

  test.each<[unknown, string]>([
    [[], 'config.json'],
    [text([]), 'text_config'],
    [text({ hidden_size: 0 }), 'text_config.hidden_size'],
    [text({ hidden_size: -4 }), 'text_config.hidden_size'],
    [text({ hidden_size: 4.5 }), 'text_config.hidden_size'],
    [text({ hidden_size: '4096' }), 'text_config.hidden_size'],
    [text({ hidden_size: 2 ** 20 + 32 }), 'text_config.hidden_size'],
    [text({ hidden_size: 100 }), 'text_config.num_attention_heads'],
    [text({ hidden_size: 32 }), 'text_config.head_dim'],
    [text({ head_dim: 5 }), 'text_config.head_dim'],
    [text({ num_key_value_heads: 5 }), 'text_config.num_key_value_heads'],
    [text({ num_key_value_heads: 0 }), 'text_config.num_key_value_heads'],
    [text({ intermediate_size: 0 }), 'text_config.intermediate_size'],
    [text({ num_hidden_layers: 1e9 }), 'text_config.num_hidden_layers'],
    [text({ vocab_size: 0 }), 'text_config.vocab_size'],
    [text({ max_position_embeddings: 0 }), 'text_config.max_position_embeddings'],
    [text({ rms_norm_eps: 0 }), 'text_config.rms_norm_eps'],
    [text({ rope_theta: -1 }), 'text_config.rope_theta'],
    [text({ eos_token_id: 'x' }), 'text_config.eos_token_id'],
    [text({ eos_token_id: [] }), 'text_config.eos_token_id'],
    [text({ tie_word_embeddings: 1 }), 'text_config.tie_word_embeddings'],
    [text({ hidden_act: 3 }), 'text_config.hidden_act'],
    [vision({ patch_size: 15 }), 'vision_config.patch_size'],
    [vision({ image_size: 0 }), 'vision_config.image_size'],
    [vision({ num_attention_heads: 7 }), 'vision_config.num_attention_heads'],
    [vision({ layer_norm_eps: null, num_hidden_layers: 0 }), 'vision_config.num_hidden_layers'],
    [{ model_type: 'llava', image_token_id: -1 }, 'image_token_id'],
    [{ model_type: 'llava', vision_feature_layer: -26 }, 'vision_feature_layer'],
  ])('%j is an invalid checkpoint that names %s', (config, argument) => {
    expect(() => parseConfig(config)).toThrow(refusal('invalid-checkpoint', argument));
  });

  test.each<[unknown, string]>([
    [{ model_type: 'llava_next' }, 'model_type'],
    [{}, 'model_type'],
    [text({ model_type: 'mistral' }), 'text_config.model_type'],
    [vision({ model_type: 'siglip_vision_model' }), 'vision_config.model_type'],
    [text({ rope_scaling: { type: 'linear', factor: 2 } }), 'text_config.rope_scaling'],
    [text({ rope_parameters: { rope_type: 'llama3' } }), 'text_config.rope_parameters'],
    [text({ hidden_act: 'mish' }), 'text_config.hidden_act'],
    [text({ attention_bias: true }), 'text_config.attention_bias'],
    [vision({ num_channels: 1 }), 'vision_config.num_channels'],
    [{ model_type: 'llava', vision_feature_layer: [-2, -5] }, 'vision_feature_layer'],
    [{ model_type: 'llava', vision_feature_select_strategy: 'mean' }, 'vision_feature_select_strategy'],
  ])('%j is unsupported for its %s', (config, argument) => {
    expect(() => parseConfig(config)).toThrow(refusal('unsupported', argument));
  });

  test.each<[unknown, string, string]>([
    [skip({ num_retained: 577 }), 'invalid-checkpoint', 'skip_vision.num_retained'],
    [skip({ num_skipped: 576 }), 'invalid-checkpoint', 'skip_vision.num_skipped'],
    [skip({ num_retained: undefined }), 'invalid-checkpoint', 'skip_vision.num_retained'],
    [skip({ attention_mask: 'other' }), 'unsupported', 'skip_vision.attention_mask'],
  ])('%j is refused by its method: %s, %s', (config, code, argument) => {
    expect(() => trainedMethod(parseConfig(config))).toThrow(refusal(code, argument));
  });

  test('the message names the supported models', () => {
    expect(() => parseConfig({ model_type: 'qwen2_vl' })).toThrow(/qwen2_vl.*supported: llava/);
  });
});

describe('parsePreprocessorConfig', () => {
  test('tiny-vlm', async () => {
    expect(parsePreprocessorConfig(await json('examples/tiny-vlm/skip/preprocessor_config.json'))).toEqual({
      resize: { height: 96, width: 96 },
      resample: 'bicubic',
      rescaleFactor: 0.00392156862745098,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
    });
  });

  test('defaults are those of CLIPImageProcessor', () => {
    expect(parsePreprocessorConfig({})).toEqual({
      resize: { shortestEdge: 224 },
      resample: 'bicubic',
      centerCrop: { height: 224, width: 224 },
      rescaleFactor: 1 / 255,
      mean: [0.48145466, 0.4578275, 0.40821073],
      std: [0.26862954, 0.26130258, 0.27577711],
    });
  });

  test('sizes as plain numbers, and everything off', () => {
    const off = { do_resize: false, do_center_crop: false, do_rescale: false, do_normalize: false };
    expect(parsePreprocessorConfig({ size: 336, crop_size: 300, resample: 2 })).toMatchObject({
      resize: { shortestEdge: 336 },
      centerCrop: { height: 300, width: 300 },
      resample: 'bilinear',
    });
    expect(parsePreprocessorConfig(off)).toEqual({ resample: 'bicubic', rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] });
  });

  test.each<[string, unknown, string, string]>([
    ['invalid-checkpoint', 3, 'preprocessor_config.json', 'a number'],
    ['invalid-checkpoint', { size: { height: 0, width: 4 } }, 'size.height', 'a zero'],
    ['invalid-checkpoint', { size: { height: 4 } }, 'size.width', 'half a size'],
    ['invalid-checkpoint', { size: 1e9 }, 'size', 'a giant'],
    ['invalid-checkpoint', { crop_size: {} }, 'crop_size.height', 'an empty crop'],
    ['invalid-checkpoint', { image_std: [1, 0, 1] }, 'image_std', 'a zero deviation'],
    ['invalid-checkpoint', { image_mean: [0.5] }, 'image_mean', 'one channel'],
    ['invalid-checkpoint', { rescale_factor: 'x' }, 'rescale_factor', 'a word'],
    ['invalid-checkpoint', { do_resize: 1 }, 'do_resize', 'a number as a flag'],
    ['unsupported', { image_processor_type: 'SiglipImageProcessor' }, 'image_processor_type', 'another processor'],
    ['unsupported', { resample: 1 }, 'resample', 'Lanczos'],
    ['unsupported', { do_pad: true }, 'do_pad', 'padding'],
    ['unsupported', { size: { shortest_edge: 4, longest_edge: 5 } }, 'size.longest_edge', 'a longest edge'],
  ])('%s: %j names %s (%s)', (code, config, argument) => {
    expect(() => parsePreprocessorConfig(config)).toThrow(refusal(code, argument));
  });
});
