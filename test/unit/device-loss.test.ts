/** A GPU device that goes away in the middle of an answer. */
import { describe, expect, test } from 'vitest';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { trainedMethod } from '../../src/methods/index.ts';
import { loadModel } from '../../src/model/load.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';

const MODEL = 'examples/tiny-vlm/skip';
const ASK = { image: 'examples/tiny-vlm/eval/028.png', question: 'describe' };
const ANSWER = 'top left : watermelon , top right : cactus , bottom left : turtle';

const adapters = installedAdapters();
if (adapters.length === 0) test.skip('no Vulkan driver here: build/setup-gpu.sh installs one');

describe.each(adapters)('device lost on %s', (name) => {
  test('during decoding: a coded error, no answer, and a new backend answers', async () => {
    const gpu = await nodeGpu(name);
    const device = await (await gpu.requestAdapter())!.requestDevice();
    const backend = await createWebGpuBackend({ gpu, device });
    const model = await loadModel(MODEL, { backend });
    let tokens = 0;
    const answer = model.generate({
      ...ASK,
      method: trainedMethod(model.config),
      onToken: () => {
        tokens++;
        if (tokens === 3) device.destroy();
      },
    });
    await expect(answer).rejects.toMatchObject({ code: 'device-lost' });
    expect(tokens).toBe(3);
    await expect(model.generate({ ...ASK })).rejects.toMatchObject({ code: 'device-lost' });
    expect(await backend.lost).toMatchObject({ reason: 'destroyed' });
    model[Symbol.dispose]();
    await backend[Symbol.asyncDispose]();

    await using fresh = await createWebGpuBackend({ gpu });
    using again = await loadModel(MODEL, { backend: fresh });
    const { text } = await again.generate({ ...ASK, method: trainedMethod(again.config) });
    expect(text).toBe(ANSWER);
  });
});
