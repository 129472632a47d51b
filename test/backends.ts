/** The backends that the suites test, by name. */
import { createReferenceBackend } from '../src/backend/reference/driver.ts';
import { createWasmBackend, type WasmBackendOptions, wasmMemoryOf } from '../src/backend/wasm/driver.ts';
import { createWebGpuBackend } from '../src/backend/webgpu/driver.ts';
import type { BackendCase, LentMemory } from './harness.ts';

export type WasmVariant = 'simd128' | 'relaxed';

export function referenceCase(): BackendCase {
  return {
    name: 'reference',
    kind: 'reference',
    create: async () => createReferenceBackend(),
    lend: async (contents) => ({ backend: createReferenceBackend(), handle: contents, read: async () => contents, release() {} }),
  };
}

/** With several threads every call of two or more is shared, however small, so that the suites see threads at work. */
export function wasmCase(variant: WasmVariant, threads = 1): BackendCase {
  const options = { variant, threads, shareFrom: 0 };
  return {
    name: threads > 1 ? `wasm ${variant}, ${threads} threads` : `wasm ${variant}`,
    kind: 'wasm',
    create: () => createWasmBackend(options),
    createAlone: threads > 1 ? () => createWasmBackend({ variant }) : undefined,
    lend: (contents) => lendLinearMemory(options, contents),
  };
}

/** 256-bit products, where this CPU and engine have them; else the suites run on plain ones once more. */
export function wideCase(): BackendCase {
  const options = { variant: 'relaxed', wide: true } as const;
  return {
    name: 'wasm relaxed, wide',
    kind: 'wasm',
    create: () => createWasmBackend(options),
    lend: (contents) => lendLinearMemory(options, contents),
  };
}

async function lendLinearMemory(options: WasmBackendOptions, contents: Float32Array): Promise<LentMemory> {
  const backend = await createWasmBackend(options);
  const linear = wasmMemoryOf(backend);
  const pointer = linear.allocate(contents.byteLength);
  const view = () => new Float32Array(linear.memory.buffer, pointer, contents.length);
  view().set(contents);
  return { backend, handle: { memory: linear.memory, pointer }, read: async () => view().slice(), release: () => linear.free(pointer) };
}

/** `gpu` gives the entry object; the default is the runtime's own `navigator.gpu`. */
export function webgpuCase(adapter = '', gpu: () => Promise<GPU> = async () => navigator.gpu): BackendCase {
  return {
    name: adapter ? `webgpu ${adapter}` : 'webgpu',
    kind: 'webgpu',
    create: async () => createWebGpuBackend({ gpu: await gpu() }),
    createFloat: async () => createWebGpuBackend({ gpu: await gpu(), integerDot: false }),
    lend: async (contents) => lendBuffer(await gpu(), contents),
  };
}

async function lendBuffer(gpu: GPU, contents: Float32Array<ArrayBuffer>): Promise<LentMemory> {
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('there is no WebGPU adapter');
  const device = await adapter.requestDevice();
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: contents.byteLength, usage });
  device.queue.writeBuffer(buffer, 0, contents);
  return {
    backend: await createWebGpuBackend({ gpu, device }),
    handle: buffer,
    read: () => readBuffer(device, buffer),
    release: () => device.destroy(),
  };
}

async function readBuffer(device: GPUDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const contents = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return contents;
}
