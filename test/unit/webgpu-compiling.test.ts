/** The WebGPU driver where several kernels can be compiled at once. */
import { beforeAll, describe, expect, test } from 'vitest';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { tuneWebGpu } from '../../src/ops/product/tune-webgpu.ts';
import { driverIsChosen, installedAdapters, nodeGpu } from '../gpu.ts';
import { broken, data, scale, scaleKernel, scaleOp, scaleWith, times } from './scale-ops.ts';

const adapters = driverIsChosen ? [undefined] : installedAdapters();
if (adapters.length === 0) test.skip('no Vulkan driver here: build/setup-gpu.sh installs one');

describe.each(adapters)('the WebGPU driver on %s, compiling', (name) => {
  let gpu: GPU;
  beforeAll(async () => {
    gpu = await nodeGpu(name);
  });

  /** As on a GPU: software adapters compile in turn. */
  async function openAsGpu() {
    const device = await (await gpu.requestAdapter())!.requestDevice();
    const made = { now: 0, beside: 0 };
    const { createComputePipeline, createComputePipelineAsync } = device;
    device.createComputePipeline = (descriptor) => {
      made.now++;
      return createComputePipeline.call(device, descriptor);
    };
    device.createComputePipelineAsync = (descriptor) => {
      made.beside++;
      return createComputePipelineAsync.call(device, descriptor);
    };
    Object.defineProperty(device, 'adapterInfo', { value: { description: 'a GPU' } });
    const own = await createWebGpuBackend({ device });
    const x = own.upload(data);
    const y = own.empty({ dtype: 'f32', shape: [data.length] });
    const run = (threads: number) => own.run(scaleOp('test_scale', scaleWith(scaleKernel, threads)), { x, y }, { factor: threads });
    return { device, own, x, y, run, made };
  }

  test('a flush and a pause compile all that is missing; else the submit does', async () => {
    const { device, own, y, run, made } = await openAsGpu();
    for (const threads of [1, 2, 4, 1]) run(threads);
    for (let i = 0; i < 500; i++) run(4); // far more than a first batch, were nothing missing
    expect(made).toEqual({ now: 0, beside: 0 });
    await own.flush();
    expect(made).toEqual({ now: 0, beside: 3 });
    for (const threads of [4, 8]) run(threads);
    await own.pause();
    expect(made).toEqual({ now: 0, beside: 4 });
    expect(Array.from(await own.read(y))).toEqual(times(8));
    run(16);
    const values = own.read(y);
    run(4);
    expect(Array.from(await values)).toEqual(times(16));
    expect(made).toEqual({ now: 1, beside: 4 });
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test('what a pause has compiled holds no submit back, and what is missing not for ever', async () => {
    const { device, own, run, made } = await openAsGpu();
    let submits = 0;
    const { submit } = device.queue;
    device.queue.submit = (buffers) => {
      submits++;
      return submit.call(device.queue, buffers);
    };
    run(1);
    await own.pause();
    for (let i = 0; i < 64; i++) run(1);
    expect(submits).toBe(1);
    for (let i = 0; i < 512; i++) run(2);
    expect(submits).toBe(2);
    expect(made).toEqual({ now: 1, beside: 1 });
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test('a read is not spoilt by refused work of others, though that was told before', async () => {
    const { device, own, x, y } = await openAsGpu();
    const innocent = own.upload(data);
    own.run(broken, { x, y }, { factor: 1 });
    await own.pause();
    await expect(own.read(y)).rejects.toMatchObject({ code: 'backend-failed' });
    own.run(broken, { x, y: own.empty({ dtype: 'f32', shape: [data.length] }) }, { factor: 1 });
    const values = own.read(innocent);
    innocent.dispose();
    own.upload(data.map(() => 42));
    expect(Array.from(await values)).toEqual(times(1));
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test('a copy that is refused again and again is told each time', async () => {
    const { device, own } = await openAsGpu();
    const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x4 | 0x8 });
    const gone = own.borrow(buffer, { dtype: 'f32', shape: [data.length] });
    buffer.destroy();
    for (let i = 0; i < 3; i++) await expect(own.read(gone)).rejects.toMatchObject({ code: 'backend-failed' });
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test('an abort is told with its reason, though a disposal follows', async () => {
    const { device, own, run } = await openAsGpu();
    device.createComputePipelineAsync = () => new Promise(() => {});
    run(2);
    const controller = new AbortController();
    const waiting = expect(own.flush({ signal: controller.signal })).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await own[Symbol.asyncDispose]();
    await waiting;
    device.destroy();
  });

  test('a device that throws instead of refusing is told as a refusal', async () => {
    const { device, own, x, y } = await openAsGpu();
    const innocent = own.upload(data);
    const { createComputePipeline } = device;
    device.createComputePipelineAsync = () => Promise.reject(new Error('no'));
    device.createComputePipeline = () => {
      throw new TypeError('no such constant');
    };
    own.run(scale, { x, y }, { factor: 2 });
    await expect(own.flush()).rejects.toMatchObject({ code: 'backend-failed', message: expect.stringContaining('no such constant') });
    expect(Array.from(await own.read(innocent))).toEqual(times(1));
    await expect(own.read(y)).rejects.toMatchObject({ code: 'backend-failed' });
    device.createComputePipeline = createComputePipeline;
    const again = own.empty({ dtype: 'f32', shape: [data.length] });
    own.run(scale, { x, y: again }, { factor: 2 });
    expect(Array.from(await own.read(again))).toEqual(times(2));
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test('a refused kernel is told as ever', async () => {
    const { device, own, x, y, run } = await openAsGpu();
    own.run(broken, { x, y }, { factor: 1 });
    run(2);
    await own.pause();
    await expect(own.read(y)).rejects.toMatchObject({ code: 'backend-failed', op: expect.stringContaining('test-broken') });
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test.each(['flush', 'pause'] as const)('a disposal meanwhile ends the %s', async (what) => {
    const { device, own, run } = await openAsGpu();
    device.createComputePipelineAsync = () => new Promise(() => {});
    run(2);
    const waiting = expect(own[what]()).rejects.toMatchObject({ code: 'disposed' });
    await own[Symbol.asyncDispose]();
    await waiting;
    device.destroy();
  });

  test('tuning takes a refused kernel for no candidate, and nobody for its author', async () => {
    const { device, own, x, y, run } = await openAsGpu();
    const { createShaderModule } = device;
    device.createShaderModule = ({ label, code }) =>
      createShaderModule.call(device, { label, code: label === 'linear f32' ? `${code} no WGSL` : code });
    const { reasons } = await tuneWebGpu(own, { budgetMs: name === adapters[0] ? 60_000 : 2000 });
    // The second driver compiles too slowly to come so far.
    if (name === adapters[0]) expect(reasons).toContainEqual('some rows: does not compile');
    run(2);
    expect(Array.from(await own.read(y))).toEqual(times(2));
    x.dispose();
    await own[Symbol.asyncDispose]();
    device.destroy();
  });

  test.each(['flush', 'pause'] as const)('a device lost meanwhile ends the %s', async (what) => {
    const { device, own, run } = await openAsGpu();
    device.createComputePipelineAsync = () => new Promise(() => {});
    run(2);
    const waiting = own[what]();
    device.destroy();
    await expect(waiting).rejects.toMatchObject({ code: 'device-lost' });
    await own[Symbol.asyncDispose]();
  });
});
