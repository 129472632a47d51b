/** WebGPU under hardship, on every driver here: a device that goes away at any await, no memory, and a thousand answers. */
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { SkipVisionError } from '../../src/backend/errors.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { loadModel } from '../../src/model/load.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';
import { microModel } from './micro-model.ts';

const FILES = microModel();
const PICTURE = { data: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * 37) % 256), width: 16, height: 16 };
const ASK = { image: PICTURE, question: 'describe', stopTokens: [] };

const adapters = installedAdapters();
if (adapters.length === 0) test.skip('no Vulkan driver here: build/setup-gpu.sh installs one');

/** Loads a model and takes three tokens. `onAwait` hears of every promise of the backend that this awaits. */
async function loadAndAsk(backend: Backend, onAwait: () => void): Promise<number[]> {
  const watched = new Proxy(backend, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const result = Reflect.apply(value, target, args) as unknown;
        if (result instanceof Promise) onAwait();
        return result;
      };
    },
  });
  const model = await loadModel(FILES, { backend: watched });
  try {
    return (await model.generate({ ...ASK, maxTokens: 3 })).ids;
  } finally {
    model[Symbol.dispose]();
  }
}

describe.each(adapters)('on %s', (name) => {
  // The backend's bookkeeping is the same on every driver: the first sees all of it, slower ones a part.
  const [answers, every] = name === adapters[0] ? [1000, 1] : [100, 5];

  test(`${answers} answers leave the memory where it was`, async () => {
    await using backend = await createWebGpuBackend({ gpu: await nodeGpu(name) });
    using model = await loadModel(FILES, { backend });
    const first = await model.generate({ ...ASK, maxTokens: 1 });
    for (let i = 0; i < 20; i++) await model.generate({ ...ASK, maxTokens: 1 });
    const before = backend.memory();
    for (let i = 0; i < answers; i++) {
      const { ids } = await model.generate({ ...ASK, maxTokens: 1 });
      if (ids[0] !== first.ids[0]) expect(ids).toEqual(first.ids);
    }
    expect(backend.memory()).toEqual(before);
  });

  test(`a device destroyed at ${every === 1 ? 'any' : `every ${every}th`} await of loading and answering: a coded error, never an answer`, async () => {
    const gpu = await nodeGpu(name);
    let awaits = 0;
    const whole = await createWebGpuBackend({ gpu });
    const ids = await loadAndAsk(whole, () => awaits++);
    await whole[Symbol.asyncDispose]();
    expect(ids).toHaveLength(3);
    expect(awaits).toBeGreaterThan(15);
    for (let at = 1; at <= awaits; at += every) {
      const device = await (await gpu.requestAdapter())!.requestDevice();
      const backend = await createWebGpuBackend({ gpu, device });
      let count = 0;
      const answer = loadAndAsk(backend, () => {
        if (++count === at) device.destroy();
      });
      // Whatever is left to be done after the last await needs no device.
      const outcome = await answer.then(
        (given) => given,
        (error: unknown) => error,
      );
      expect(outcome, `await ${at} of ${awaits}`).toBeInstanceOf(SkipVisionError);
      expect(outcome, `await ${at} of ${awaits}`).toMatchObject({ code: 'device-lost' });
      await backend[Symbol.asyncDispose]();
    }
  });
});
