/** The functions and classes of `skip-vision/model` that run on a backend, and those of the methods. See `functions.ts`. */
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { FASTV_FIELDS } from '../../src/methods/fastv.ts';
import { fastV, METHOD_FIELDS, methodByName, none, skipVision, trainedMethod } from '../../src/methods/index.ts';
import { SKIP_VISION_FIELDS } from '../../src/methods/skip-vision.ts';
import { GENERATE_FIELDS } from '../../src/model/generate-options.ts';
import { LLAMA_FIELDS, llamaDecoder } from '../../src/model/families/blocks.ts';
import { LOAD_MODEL_FIELDS, loadModel } from '../../src/model/load.ts';
import { Decoder, DECODER_FIELDS } from '../../src/model/stack/decoder.ts';
import { KvCache } from '../../src/model/stack/kv-cache.ts';
import { KV_CACHE_FIELDS } from '../../src/model/stack/kv-config.ts';
import { range } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import { VLM_FIELDS } from '../../src/model/vlm.ts';
import { microModel } from '../unit/micro-model.ts';
import { type DeclaredFunction, options } from './declared.ts';

const backend = createReferenceBackend();
const files = microModel();
const picture = { width: 2, height: 1, data: new Uint8Array(6) };
const model = await loadModel(files, { backend });
const facts = model.config;
const llama = {
  hiddenSize: 8,
  intermediateSize: 4,
  numLayers: 1,
  numHeads: 2,
  numKvHeads: 1,
  headDim: 4,
  rmsNormEps: 1e-5,
  ropeTheta: 1e4,
  ropeLayout: 'neox',
  hiddenAct: 'silu',
} as const;
const ones = {
  has: (name: string) => !name.endsWith('bias'),
  tensor: (_: string, shape: readonly number[]) => new Float32Array(shape.reduce((a, b) => a * b)),
};
const decoder = await Decoder.load(backend, ones, llamaDecoder(llama), '');
const matrix = (rows: number, columns: number) => backend.upload(new Float32Array(rows * columns), [rows, columns]);
const stream = () => ({ x: matrix(2, 8), rows: { order: range(0, 2), segments: [{ kind: 'text', start: 0, end: 2 }] } });
const row = matrix(1, 8);

/** A cache with three rows of 8 numbers in its one layer, and room for as many. */
function filled(): KvCache {
  const cache = new KvCache(backend, { layers: 1, kvHeads: 2, headDim: 4, capacity: 6 });
  cache.append(0, matrix(3, 8), matrix(3, 8), range(0, 3));
  return cache;
}
const cache = filled();
const ofLayer = (call: (layer: number) => unknown): DeclaredFunction => ({
  call,
  fields: { layer: KV_CACHE_FIELDS.compact.layer },
  good: [0],
  also: [['layer', 1]],
});

export const MODEL_FUNCTIONS: Readonly<Record<string, DeclaredFunction>> = {
  loadModel: {
    call: async (...args: Parameters<typeof loadModel>) => (await loadModel(...args))[Symbol.dispose](),
    fields: LOAD_MODEL_FIELDS,
    good: [files, { backend }],
    also: [['dtype', files, { backend, dtype: 'q3' }]],
  },
  'Vlm.pixels': {
    call: (...args) => model.pixels(...(args as [never])),
    fields: VLM_FIELDS.pixels,
    good: [picture],
    also: [['image', {}]],
  },
  'Vlm.encodeImage': {
    call: async (...args) => (await model.encodeImage(...(args as [never])))[Symbol.dispose](),
    fields: VLM_FIELDS.encodeImage,
    good: [picture, { method: none() }],
    also: [['image', {}]],
  },
  'Vlm.room': { call: (work) => model.room(work), fields: VLM_FIELDS.room, good: [new Work(backend)] },
  'Vlm.embed': {
    call: (...args) => model.embed(...(args as [never])),
    fields: VLM_FIELDS.embed,
    good: [[1, 2]],
    also: [['ids', [2 ** 30]]],
  },
  'Vlm.logits': { call: (...args) => model.logits(...(args as [never])), fields: VLM_FIELDS.logits, good: [matrix(1, 16)] },
  'Vlm.generate': {
    call: (given) => model.generate(given),
    fields: { options: { ...options(GENERATE_FIELDS).options!, optional: false } },
    good: [{ question: 'Which?', image: picture, maxTokens: 1 }],
    also: [
      ['question', {}],
      ['prompt', { prompt: '' }],
      ['image', { question: 'Which?' }],
    ],
  },

  llamaDecoder: {
    call: llamaDecoder,
    fields: { sizes: { ...options(LLAMA_FIELDS).options!, optional: false } },
    good: [llama],
    also: [['numKvHeads', { ...llama, numKvHeads: 3 }]],
  },
  'Decoder.load': {
    call: async (...args: Parameters<typeof Decoder.load>) => (await Decoder.load(...args))[Symbol.dispose](),
    fields: DECODER_FIELDS.load,
    good: [backend, ones, llamaDecoder(llama), ''],
    also: [['dtype', backend, ones, llamaDecoder(llama), '', { dtype: 'q3' }]],
  },
  'Decoder.makeCache': { call: (config) => decoder.makeCache(config), fields: DECODER_FIELDS.makeCache, good: [{ room: 4 }] },
  'Decoder.prefill': {
    call: (...args) => decoder.prefill(...(args as [never, never])),
    fields: DECODER_FIELDS.prefill,
    good: [stream(), { cache: decoder.makeCache({ room: 4 }) }],
    also: [['outputRows', stream(), { cache: decoder.makeCache({ room: 4 }), outputRows: Uint32Array.of(2) }]],
  },
  'Decoder.decode': {
    call: (...args) => decoder.decode(...(args as [never, never])),
    fields: DECODER_FIELDS.decode,
    good: [row, decoder.makeCache({ room: 4 })],
    also: [
      ['x', backend.upload(Uint32Array.of(1)), decoder.makeCache({ room: 4 })],
      ['x', matrix(1, 4), decoder.makeCache({ room: 4 })],
    ],
  },

  KvCache: {
    call: (...args: ConstructorParameters<typeof KvCache>) => new KvCache(...args)[Symbol.dispose](),
    fields: KV_CACHE_FIELDS.create,
    good: [backend, { layers: 1, kvHeads: 1, headDim: 2, capacity: 4 }],
    also: [
      ['capacity', backend, { layers: 1, kvHeads: 1, headDim: 2 }],
      ['kvHeads', backend, { layers: 1, headDim: 2, capacity: 1 }],
      ['kvHeads', backend, { layers: [{ kvHeads: 1, headDim: 2 }], kvHeads: 1, capacity: 1 }],
      ['headDim', backend, { layers: [{ kvHeads: 1 }], capacity: 1 }],
      ['layers', backend, { layers: [5], capacity: 1 }],
    ],
  },
  'KvCache.length': ofLayer((layer) => cache.length(layer)),
  'KvCache.capacity': ofLayer((layer) => cache.capacity(layer)),
  'KvCache.order': ofLayer((layer) => cache.order(layer)),
  'KvCache.keys': ofLayer((layer) => cache.keys(layer)),
  'KvCache.values': ofLayer((layer) => cache.values(layer)),
  'KvCache.layerBytes': ofLayer((layer) => cache.layerBytes(layer)),
  'KvCache.append': {
    call: (...args) => cache.append(...(args as [never, never, never, never])),
    fields: KV_CACHE_FIELDS.append,
    good: [0, row, row, Uint32Array.of(3)],
    also: [
      ['layer', 1, row, row, Uint32Array.of(9)],
      ['k', 0, matrix(2, 8), row, Uint32Array.of(9)],
      ['order', 0, row, row, Uint32Array.of(1)],
      ['rows', 0, row, row, backend.upload(Uint32Array.of(9)), Uint32Array.of(0)],
      ['rows', 0, row, row, Uint32Array.of(9), Uint32Array.of(1)],
    ],
  },
  'KvCache.extend': {
    call: (...args) => filled().extend(...(args as [never, never])),
    fields: KV_CACHE_FIELDS.extend,
    good: [0, Uint32Array.of(3)],
    also: [['order', 0, Uint32Array.of(2)]],
  },
  'KvCache.settle': { call: (...args) => cache.settle(...args), fields: KV_CACHE_FIELDS.settle, good: [{}] },
  'KvCache.compact': {
    call: (...args) => filled().compact(...(args as [never, never])),
    fields: KV_CACHE_FIELDS.compact,
    good: [0, Uint32Array.of(0, 2), { capacity: 2 }],
    also: [
      ['keep', 0, Uint32Array.of(3)],
      ['keep', 0, Uint32Array.of(1, 0)],
      ['capacity', 0, Uint32Array.of(0, 1), { capacity: 1 }],
    ],
  },
  'KvCache.evict': { call: (...args) => filled().evict(...(args as [never])), fields: KV_CACHE_FIELDS.evict, good: [[[0, 1]]] },
  'KvCache.trim': { call: (order) => filled().trim(order), fields: KV_CACHE_FIELDS.trim, good: [1] },
  'KvCache.advance': {
    call: (...args) => filled().advance(...(args as [never])),
    fields: KV_CACHE_FIELDS.advance,
    good: [Uint32Array.of(3)],
  },
  'KvCache.rewind': {
    call: (mark) => filled().rewind(mark),
    fields: KV_CACHE_FIELDS.rewind,
    good: [{ lengths: [1], nextOrder: 1, nextAngle: 1 }],
    also: [['lengths', { lengths: [], nextOrder: 0, nextAngle: 0 }]],
  },
  'KvCache.restore': {
    call: (snapshot) => cache.restore(snapshot),
    fields: {},
    good: [cache.snapshot()],
    also: [undefined, null, 5, {}, cache, filled().snapshot()].map((wrong) => ['snapshot', wrong]),
  },

  skipVision: {
    call: skipVision,
    fields: { options: { ...options(SKIP_VISION_FIELDS).options!, optional: false } },
    good: [{ retained: 2, skipped: 1 }],
  },
  fastV: { call: fastV, fields: options(FASTV_FIELDS), good: [{ k: 3, r: 0.75, rounding: 'floor' }] },
  methodByName: { call: methodByName, fields: METHOD_FIELDS.methodByName, good: ['none', facts] },
  trainedMethod: { call: trainedMethod, fields: METHOD_FIELDS.trainedMethod, good: [facts] },
};
