/**
 * Every function and class of the public entries, with the declaration of its arguments and arguments that it takes. A new export
 * fails `test/unit/arguments.test.ts` until it has a line here.
 */
import { type Backend, REJECTED_OPTION } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { SELECT_FIELDS, selectBackend } from '../../src/backend/select.ts';
import { createWasmBackend, wasmMemoryOf } from '../../src/backend/wasm/driver.ts';
import { WASM_BACKEND_FIELDS, WASM_MEMORY_OF_FIELDS } from '../../src/backend/wasm/options.ts';
import { WEBGPU_BACKEND_FIELDS } from '../../src/backend/webgpu/device.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { TUNE_WASM_FIELDS, tuneWasm } from '../../src/ops/product/tune-wasm.ts';
import { TUNE_WEBGPU_FIELDS, tuneWebGpu } from '../../src/ops/product/tune-webgpu.ts';
import { FASTV_COST_FIELDS, fastVKvBytes, keptImageRows, publishedFastVMacs } from '../../src/cost/fastv.ts';
import { COST_FIELDS, flopsRatio, kvBytes, macsPerRow, prefillFlops, publishedFlopsRatio } from '../../src/cost/skip-vision.ts';
import { parseConfig } from '../../src/model/families/index.ts';
import { Checkpoint, CHECKPOINT_FIELDS, OPEN_CHECKPOINT_FIELDS, openCheckpoint } from '../../src/model/files/checkpoint.ts';
import { PARSE_SAFETENSORS_FIELDS, parseSafetensors } from '../../src/model/files/safetensors.ts';
import { OPEN_SOURCE_FIELDS, openSource } from '../../src/model/files/source.ts';
import { imageFromBitmap, TO_IMAGE_FIELDS, toImage } from '../../src/model/image/image.ts';
import { parsePreprocessorConfig, PREPROCESS_FIELDS, preprocess } from '../../src/model/image/preprocess.ts';
import { Tokenizer, TOKENIZER_FIELDS } from '../../src/model/text/tokenizer.ts';
import { ROPE_TABLES_FIELDS, ropeTables } from '../../src/ops/rope.ts';
import { TOP_K_FIELDS, topKCount } from '../../src/ops/top-k-rows.ts';
import { f32, safetensorsFile } from '../unit/safetensors-file.ts';
import { NO_OBJECTS, SAMPLES } from '../wrong-values.ts';
import { type DeclaredFunction, options } from './declared.ts';
import { MODEL_FUNCTIONS } from './model-functions.ts';

/** Takes parsed JSON, whatever it is, and tells of the file it comes from. */
const parser = (call: DeclaredFunction['call'], file: string, ...before: unknown[]): DeclaredFunction => ({
  call,
  fields: {},
  good: [],
  untried: 'see the tests of its own',
  also: [...NO_OBJECTS, []].map((wrong) => [file, ...before, wrong]),
});

const sizes = { hiddenSize: 8, intermediateSize: 16, kvWidth: 4, numLayers: 2 };
const rows = { retained: 3, skipped: 2 };
const prompt = { rows: 20, imageRows: 12, k: 1, r: 0.5, rounding: 'floor' };
const picture = { width: 2, height: 1, data: new Uint8Array(6) };
const file = safetensorsFile({ x: { dtype: 'F32', shape: [1], bytes: f32(1) } });
const source = openSource({ 'model.safetensors': file });
const checkpoint = new Checkpoint(parseSafetensors(file, 'x').tensors);
const tokenizer = new Tokenizer({ model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' } });
const closed = async (backend: Backend | Promise<Backend>) => (await backend)[Symbol.asyncDispose]();
const wasm = await createWasmBackend({ tileRows: 4 });
const reference = createReferenceBackend();

export const FUNCTIONS: Readonly<Record<string, DeclaredFunction>> = {
  selectBackend: { call: (...args) => closed(selectBackend(...args)), fields: options(SELECT_FIELDS), good: [{ prefer: 'reference' }] },
  createReferenceBackend: {
    call: (...args) => closed(createReferenceBackend(...args)),
    fields: options(REJECTED_OPTION),
    good: [{ rejected: [{ name: 'wasm', reason: 'mine' }] }],
    also: [
      ['rejected', { rejected: [{ name: 'cuda', reason: 'mine' }] }],
      ['rejected', { rejected: [{ name: 'wasm' }] }],
    ],
  },
  createWasmBackend: {
    call: (...args) => closed(createWasmBackend(...args)),
    fields: options(WASM_BACKEND_FIELDS),
    good: [{ variant: 'simd128', tileRows: 4, workerUrl: 'x', shareFrom: 0 }],
    also: [['tileRows', { tileRows: 5 }]],
  },
  wasmMemoryOf: { call: wasmMemoryOf, fields: WASM_MEMORY_OF_FIELDS, good: [wasm], also: [['backend', reference]] },
  createWebGpuBackend: {
    call: (...args) => closed(createWebGpuBackend(...args)),
    fields: options(WEBGPU_BACKEND_FIELDS),
    good: [{}],
    also: [
      ['tuning', { tuning: { shapes: { few: 5 } } }],
      ['tuning', { tuning: { shapes: { few: { COLUMNS: '8' } } } }],
    ],
    untried: 'needs a GPU',
  },
  tuneWasm: { call: tuneWasm, fields: TUNE_WASM_FIELDS, good: [wasm], also: [['backend', reference]] },
  tuneWebGpu: {
    call: tuneWebGpu,
    fields: TUNE_WEBGPU_FIELDS,
    good: [reference],
    also: [['backend', reference]],
    untried: 'needs a GPU',
  },

  macsPerRow: { call: macsPerRow, fields: COST_FIELDS.macsPerRow, good: [sizes] },
  prefillFlops: { call: prefillFlops, fields: COST_FIELDS.prefillFlops, good: [sizes, 5, 3] },
  flopsRatio: { call: flopsRatio, fields: COST_FIELDS.flopsRatio, good: [sizes, rows, 10] },
  publishedFlopsRatio: { call: publishedFlopsRatio, fields: COST_FIELDS.publishedFlopsRatio, good: [sizes, rows, 10] },
  keptImageRows: { call: keptImageRows, fields: FASTV_COST_FIELDS.keptImageRows, good: [12, 0.5, 'floor'] },
  publishedFastVMacs: { call: publishedFastVMacs, fields: FASTV_COST_FIELDS.publishedFastVMacs, good: [sizes, prompt] },
  fastVKvBytes: { call: fastVKvBytes, fields: FASTV_COST_FIELDS.fastVKvBytes, good: [sizes, prompt, 2] },
  kvBytes: { call: kvBytes, fields: COST_FIELDS.kvBytes, good: [sizes, 5, 2] },

  ropeTables: {
    call: ropeTables,
    fields: ROPE_TABLES_FIELDS,
    good: [Uint32Array.of(0, 4), 4, 1e4],
    also: [['headDim', Uint32Array.of(0), 3, 1e4]],
  },
  topKCount: {
    call: topKCount,
    fields: TOP_K_FIELDS,
    good: [
      3,
      [
        [0, 2],
        [1, 9],
      ],
    ],
  },

  openSource: {
    call: openSource,
    fields: OPEN_SOURCE_FIELDS,
    good: [{}, {}],
    also: [
      ['source', ''],
      ['source', 'http://'],
    ],
  },
  openCheckpoint: { call: openCheckpoint, fields: OPEN_CHECKPOINT_FIELDS, good: [source] },
  'Checkpoint.has': { call: (name) => checkpoint.has(name), fields: CHECKPOINT_FIELDS.has, good: ['y'] },
  'Checkpoint.shape': { call: (name) => checkpoint.shape(name), fields: CHECKPOINT_FIELDS.shape, good: ['x'], also: [['y', 'y']] },
  'Checkpoint.tensor': {
    call: (name, shape) => checkpoint.tensor(name, shape),
    fields: CHECKPOINT_FIELDS.tensor,
    good: ['x', [1]],
    also: [
      ['y', 'y', [1]],
      ['x', 'x', [2]],
    ],
  },
  'Checkpoint.unused': { call: (prefixes) => checkpoint.unused(prefixes), fields: CHECKPOINT_FIELDS.unused, good: [['x']] },
  parseSafetensors: { call: parseSafetensors, fields: PARSE_SAFETENSORS_FIELDS, good: [file, 'x'], also: [['x', new Uint8Array(1), 'x']] },
  parseConfig: parser(parseConfig, 'config.json'),
  parsePreprocessorConfig: parser(parsePreprocessorConfig, 'preprocessor_config.json'),

  toImage: {
    call: toImage,
    fields: TO_IMAGE_FIELDS,
    good: [picture, { maxPixels: Number.POSITIVE_INFINITY }],
    also: [
      ['image', 5],
      ['image', Symbol('mine')],
      ['image', { ...picture, width: 5n }],
      ['image', { ...picture, data: [] }],
    ],
  },
  imageFromBitmap: {
    call: imageFromBitmap,
    fields: {},
    good: [{ width: 1, height: 1, data: new Uint8ClampedArray(4) }],
    also: [undefined, ...SAMPLES].map((wrong) => ['image', wrong]),
  },
  preprocess: {
    call: preprocess,
    fields: PREPROCESS_FIELDS,
    good: [picture, parsePreprocessorConfig({ size: 4, crop_size: 4 })],
    also: [
      ['image', { ...picture, height: 7 }, parsePreprocessorConfig({})],
      ['image', {}, parsePreprocessorConfig({})],
    ],
  },

  Tokenizer: parser((json) => new Tokenizer(json), 'tokenizer.json'),
  'Tokenizer, its second argument': parser((json, config) => new Tokenizer(json, config), 'tokenizer_config.json', { model: {} }),
  'Tokenizer.encode': { call: (text) => tokenizer.encode(text), fields: TOKENIZER_FIELDS.encode, good: ['a'] },
  'Tokenizer.decode': {
    call: (ids, more) => tokenizer.decode(ids, more),
    fields: TOKENIZER_FIELDS.decode,
    good: [[0], { skipSpecial: true }],
  },
  ...MODEL_FUNCTIONS,

  'Tokenizer.tokenId': { call: (token) => tokenizer.tokenId(token), fields: TOKENIZER_FIELDS.tokenId, good: ['a'] },
};

/** What takes no arguments, what takes anything, and classes whose constructors are of no use to callers, as others make them. */
export const UNDECLARED: readonly string[] = [
  'Checkpoint',
  'Decoder',
  'KvCache.mark',
  'KvCache.snapshot',
  'none',
  'SkipVisionError',
  'Vlm',
];
