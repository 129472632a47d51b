/** What the model layer refuses, and that nothing is left behind: on a toy model, self-trained on synthetic scenes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { skipVision, trainedMethod } from '../../src/methods/index.ts';
import { loadModel } from '../../src/model/load.ts';
import { KvCache } from '../../src/model/stack/kv-cache.ts';
import { makeSampler } from '../../src/model/text/sampling.ts';
import type { Vlm } from '../../src/model/vlm.ts';

const IMAGE = 'examples/tiny-vlm/eval/028.png';
let backend: Backend;
let model: Vlm;

beforeAll(async () => {
  backend = await createWasmBackend();
  model = await loadModel('examples/tiny-vlm/skip', { backend });
});
afterAll(async () => {
  model[Symbol.dispose]();
  await backend[Symbol.asyncDispose]();
});

const ask = (options: object) => model.generate({ image: IMAGE, question: 'describe', ...options });

test.each([
  ['method', { method: 'skip-vision' }],
  ['method', { method: null }],
  ['question', { question: 5 }],
  ['image', { image: null }],
  ['stopTokens', { stopTokens: 5 }],
  ['maxTokens', { maxTokens: 0 }],
  ['chunkSize', { chunkSize: 1.5 }],
  ['kvDtype', { kvDtype: 'q8' }],
  ['kvDtype', { kvDtype: null }],
])('generate: a bad %s', async (argument, options) => {
  const { tensors } = backend.memory();
  await expect(ask(options)).rejects.toMatchObject({ code: 'invalid-argument', op: 'generate', argument });
  expect(backend.memory().tensors).toBe(tensors);
});

test('a run that is refused half-way leaves no tensor behind', async () => {
  const method = trainedMethod(model.config);
  const image = await model.encodeImage(IMAGE, { method });
  image[Symbol.dispose]();
  const { tensors } = backend.memory();
  await expect(ask({ image, method })).rejects.toMatchObject({ code: 'disposed' });
  expect(() => model.embed([99_999])).toThrow(expect.objectContaining({ code: 'invalid-argument', argument: 'ids' }));
  await expect(ask({ method: skipVision({ retained: 25, skipped: 500 }) })).rejects.toMatchObject({ argument: 'skipped' });
  expect(backend.memory().tensors).toBe(tensors);
});

test('the sampler gives a token for logits that are no numbers', () => {
  const sample = makeSampler({ temperature: 1, seed: 3 })!;
  expect(sample(Float32Array.of(Number.NaN, 0, Number.NaN))).toBe(1);
  expect(sample(Float32Array.of(0, Number.POSITIVE_INFINITY, 1))).toBe(1);
  expect(sample(new Float32Array(3).fill(Number.NEGATIVE_INFINITY))).toBe(0);
});

test('KvCache refuses what does not fit it, and keeps what it has', async () => {
  const reference = createReferenceBackend();
  using cache = new KvCache(reference, { layers: 2, kvHeads: 1, headDim: 2, capacity: 4 });
  using other = new KvCache(reference, { layers: 1, kvHeads: 1, headDim: 2, capacity: 4 });
  const odd = { layers: 1, kvHeads: 2, headDim: 3, capacity: 4 };
  expect(() => new KvCache(reference, { ...odd, dtype: 'f16' })).toThrow(expect.objectContaining({ argument: 'headDim', got: '3' }));
  expect(() => new KvCache(reference, { ...odd, dtype: 'f64' as 'f32' })).toThrow(expect.objectContaining({ argument: 'dtype' }));
  using rows = reference.upload(new Float32Array(6), [3, 2]);
  const refused = (call: () => void, argument: string) =>
    expect(call).toThrow(expect.objectContaining({ code: 'invalid-argument', argument }));
  refused(() => cache.append(0, rows, rows, Uint32Array.of(0, 1)), 'k');
  refused(() => cache.append(9, rows, rows, Uint32Array.of(0, 1, 2)), 'layer');
  refused(() => cache.trim(-1), 'order');
  refused(() => cache.trim(Number.NaN), 'order');
  using foreign = other.snapshot();
  refused(() => cache.restore(foreign), 'snapshot');
  const { tensors } = reference.memory();
  const snapshot = cache.snapshot();
  snapshot[Symbol.dispose]();
  expect(() => cache.restore(snapshot)).toThrow(expect.objectContaining({ code: 'disposed' }));
  expect([cache.length(0), cache.length(1), cache.nextOrder, reference.memory().tensors]).toEqual([0, 0, 0, tensors]);
});

test('loadModel refuses a dtype of weights before it reads anything', async () => {
  const only = { run() {}, name: 'webgpu', dtypes: ['f32'] } as unknown as Backend;
  for (const [on, dtype] of [
    [only, 'q4'],
    [backend, 'q1'],
  ] as const) {
    await expect(loadModel('no such folder', { backend: on, dtype: dtype as 'q4' })).rejects.toMatchObject({
      code: 'unsupported',
      op: 'loadModel',
      argument: 'dtype',
      got: dtype,
      expected: on.dtypes.join(', '),
    });
  }
});

test.each([
  ['f16', 0.55],
  ['q8', 0.35],
  ['q4', 0.25],
] as const)('loadModel with weights of %s: %f of the bytes at most, and an answer', async (dtype, share) => {
  const { weights } = backend.memory();
  const small = await loadModel('examples/tiny-vlm/skip', { backend, dtype });
  expect((backend.memory().weights - weights) / weights).toBeLessThan(share);
  const { text } = await small.generate({ image: IMAGE, question: 'what is at the top right ?', method: trainedMethod(small.config) });
  expect(text).toBe('cactus');
  small[Symbol.dispose]();
  expect(backend.memory().weights).toBe(weights);
});

test('loading stops when it is aborted while weights are packed', async () => {
  const { tensors, weights } = backend.memory();
  const controller = new AbortController();
  const loading = loadModel('examples/tiny-vlm/skip', {
    backend,
    signal: controller.signal,
    onProgress: ({ file }) => void (file === 'model.safetensors' && setTimeout(() => controller.abort(new Error('enough')), 0)),
  });
  await expect(loading).rejects.toThrow('enough');
  expect(backend.memory()).toMatchObject({ tensors, weights });
});
