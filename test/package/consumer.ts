/** What a user of the package writes; compiled against the installed package, never run. */
import {
  type Backend,
  type GenerateResult,
  loadModel,
  none,
  selectBackend,
  skipVision,
  SkipVisionError,
  trainedMethod,
  type Vlm,
} from 'skip-vision';
import { createReferenceBackend } from 'skip-vision/backend/reference';
import { createWasmBackend } from 'skip-vision/backend/wasm';
import { createWebGpuBackend } from 'skip-vision/backend/webgpu';
import { methodByName } from 'skip-vision/methods';
import { KvCache, Tokenizer } from 'skip-vision/model';
import { gatheredFfn, rmsNorm } from 'skip-vision/ops';

export async function ask(picture: Uint8Array, question: string, signal: AbortSignal): Promise<GenerateResult> {
  const backend: Backend = await selectBackend({ prefer: ['webgpu', 'wasm'], onFallback: ({ name, reason }) => void [name, reason] });
  const model: Vlm = await loadModel(new URL('./skip/', import.meta.url), { backend, signal });
  const method = model.config.json.skip_vision ? trainedMethod(model.config) : skipVision({ retained: 100, skipped: 156, mask: 'hidden' });
  const name: string = methodByName('none', model.config).name;
  try {
    return await model.generate({ image: picture, question, method: name === 'none' ? none() : method, signal });
  } catch (error) {
    if (error instanceof SkipVisionError && error.code === 'context-exceeded') throw new RangeError(error.message);
    throw error;
  } finally {
    await backend[Symbol.asyncDispose]();
  }
}

export async function kernels(device: unknown): Promise<Float32Array> {
  const backends: Backend[] = [createReferenceBackend(), await createWasmBackend(), await createWebGpuBackend()];
  const backend = backends[device ? 2 : 1]!;
  const x = backend.upload(new Float32Array(8), [2, 4]);
  const weight = backend.upload(new Float32Array(4));
  const y = backend.empty({ dtype: 'f32', shape: [2, 4] });
  backend.run(rmsNorm, { x, weight, y }, { eps: 1e-5 });
  // @ts-expect-error an operand is missing
  backend.run(rmsNorm, { x, weight }, { eps: 1e-5 });
  // @ts-expect-error an attribute is missing
  backend.run(rmsNorm, { x, weight, y }, {});
  // @ts-expect-error a weight is no tensor
  backend.run(gatheredFfn, { x, up: x, down: x }, { activation: 'silu' });
  const result: Float32Array = await backend.read(y, { signal: AbortSignal.timeout(1000) });
  using cache = new KvCache(backend, { layers: 1, kvHeads: 1, headDim: 4, capacity: 2 });
  return cache.bytes > 0 ? new Float32Array(new Tokenizer({ model: {} }).encode('')) : result;
}
