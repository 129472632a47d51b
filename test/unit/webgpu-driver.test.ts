/** The WebGPU driver itself: memory, loss, borrowing, faults. The ops have their own suites. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend, TraceEvent } from '../../src/backend/backend.ts';
import { defineOp, inout } from '../../src/backend/op.ts';
import type { GpuBinding } from '../../src/backend/webgpu/binding.ts';
import type { GpuKernel } from '../../src/backend/webgpu/kernel.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { driverIsChosen, installedAdapters, nodeGpu } from '../gpu.ts';
import { broken, data, halfway, scale, scaleKernel, scaleOp, scaleTwice, scaleWith, times } from './scale-ops.ts';

const adapters = driverIsChosen ? [undefined] : installedAdapters();
if (adapters.length === 0) test.skip('no Vulkan driver here: build/setup-gpu.sh installs one');

describe.each(adapters)('the WebGPU driver on %s', (name) => {
  let gpu: GPU;
  let backend: Backend;
  beforeAll(async () => {
    gpu = await nodeGpu(name);
    backend = await createWebGpuBackend({ gpu });
  });
  afterAll(() => backend[Symbol.asyncDispose]());

  async function expectWorking(target: Backend): Promise<void> {
    const x = target.upload(data);
    const y = target.empty({ dtype: 'f32', shape: [data.length] });
    target.run(scale, { x, y }, { factor: 2 });
    expect(Array.from(await target.read(y))).toEqual(times(2));
    x.dispose();
    y.dispose();
  }

  test('says what it is', () => {
    expect(backend.name).toBe('webgpu');
    expect(backend.description).not.toBe('');
    expect(backend.limits.maxBufferBytes).toBeGreaterThanOrEqual(128 * 2 ** 20);
  });

  test('memory returns to its start, and freed buffers are used again', async () => {
    const before = backend.memory();
    let settled = 0;
    for (let round = 0; round < 5; round++) {
      const x = backend.upload(data);
      const y = backend.empty({ dtype: 'f32', shape: [data.length] });
      const weight = await backend.pack({ data: new Float32Array(35), shape: [5, 7] });
      expect(backend.memory().weights).toBe(weight.bytes);
      for (let i = 0; i < 300; i++) backend.run(scaleTwice, { x, y }, { factor: 3 }); // more than one batch
      expect(Array.from(await backend.read(y))).toEqual(times(9));
      for (const each of [x, y, weight]) each.dispose();
      await backend.flush();
      const { tensors, weights, reserved } = backend.memory();
      expect({ tensors, weights }).toEqual({ tensors: before.tensors, weights: before.weights });
      if (round === 2) settled = reserved;
      if (round > 2) expect(reserved).toBe(settled);
    }
  });

  test('an upload never reaches into work that is still recorded', async () => {
    const results = [];
    for (let round = 0; round < 20; round++) {
      const x = backend.upload(data.map((value) => value + round));
      const y = backend.empty({ dtype: 'f32', shape: [data.length] });
      backend.run(scale, { x, y }, { factor: 1 });
      x.dispose(); // its buffer must not be handed to the next upload yet
      results.push(y);
    }
    for (const [round, y] of results.entries()) {
      expect((await backend.read(y))[0]).toBe(data[0]! + round);
      y.dispose();
    }
  });

  test('more than 65,535 workgroups are folded', async () => {
    const n = 70_001;
    const op = scaleOp('test_fold', scaleWith(scaleKernel, 1));
    const x = backend.upload(new Float32Array(n).fill(3));
    const y = backend.empty({ dtype: 'f32', shape: [n] });
    backend.run(op, { x, y }, { factor: 5 });
    expect((await backend.read(y)).every((value) => value === 15)).toBe(true);
    x.dispose();
    y.dispose();
  });

  test('tensors without elements work', async () => {
    const x = backend.upload(new Float32Array(0));
    const y = backend.empty({ dtype: 'f32', shape: [0] });
    backend.run(scale, { x, y }, { factor: 2 });
    expect(await backend.read(y)).toHaveLength(0);
    x.dispose();
    y.dispose();
  });

  test('an op that throws leaves nothing behind', async () => {
    const x = backend.upload(data);
    const y = backend.upload(data);
    expect(() => backend.run(halfway, { x, y }, { factor: 0 })).toThrow('in the middle');
    expect(Array.from(await backend.read(y))).toEqual(times(1));
    x.dispose();
    y.dispose();
  });

  test.each([
    [{ n: 1 }, 'factor is undefined, expected f32'],
    [{ factor: 1 }, 'n is undefined, expected u32'],
    [{ n: -1, factor: 1 }, 'n is -1, expected u32'],
    [{ n: 0.5, factor: 1 }, 'n is 0.5, expected u32'],
    [{ n: 2 ** 32, factor: 1 }, 'n is 4294967296, expected u32'],
    [{ n: 1, factor: true }, 'factor is true, expected f32'],
    [{ n: undefined, factor: 1 }, 'n is undefined, expected u32'],
    [{ n: 1, factor: 1, rows: 1 }, 'got params n,factor,rows, expected n,factor'],
  ])('params %j are refused', async (params, message) => {
    using x = backend.upload(data);
    using y = backend.upload(data);
    const op = scaleOp('test_params', (gpu, io) => gpu.dispatch(scaleKernel, [io.x, io.y], params as never, [1]));
    const fault = { code: 'backend-failed', op: 'kernel test-scale', message: expect.stringContaining(message) };
    expect(() => backend.run(op, { x, y }, { factor: 1 })).toThrow(expect.objectContaining(fault));
    expect(Array.from(await backend.read(y))).toEqual(times(1));
  });

  test('a refused kernel is a coded error, and what it should have written is never read as good', async () => {
    const x = backend.upload(data);
    const y = backend.upload(data);
    const after = backend.empty({ dtype: 'f32', shape: [data.length] });
    backend.run(broken, { x, y }, { factor: 1 });
    backend.run(scale, { x: y, y: after }, { factor: 1 });
    await expect(backend.read(after)).rejects.toMatchObject({ code: 'backend-failed', op: expect.stringContaining('test-broken') });
    await expect(backend.read(y)).rejects.toMatchObject({ code: 'backend-failed' });
    expect(() => backend.run(scale, { x: y, y: after }, { factor: 1 })).toThrow(expect.objectContaining({ code: 'backend-failed' }));
    for (const each of [x, y, after]) each.dispose();
    await expectWorking(backend);
  });

  test('an abandoned device is a coded error at the next call, and a pending read rejects', async () => {
    const device = await (await gpu.requestAdapter())!.requestDevice();
    const own = await createWebGpuBackend({ device });
    const x = own.upload(data);
    const y = own.empty({ dtype: 'f32', shape: [data.length] });
    own.run(scale, { x, y }, { factor: 2 });
    const pending = own.read(y);
    device.destroy();
    await expect(pending).rejects.toMatchObject({ code: 'device-lost' });
    expect(() => own.run(scale, { x, y }, { factor: 2 })).toThrow(expect.objectContaining({ code: 'device-lost' }));
    await expect(own.read(y)).rejects.toMatchObject({ code: 'device-lost' });
    expect(await own.lost).toMatchObject({ reason: 'destroyed' });
    await own[Symbol.asyncDispose]();
  });

  test('device and buffers of the caller survive', async () => {
    const device = await (await gpu.requestAdapter())!.requestDevice();
    let lost = false;
    void device.lost.then(() => {
      lost = true;
    });
    const usage = 0x80 | 0x4 | 0x8; // STORAGE | COPY_SRC | COPY_DST
    const buffer = device.createBuffer({ size: data.byteLength, usage });
    const guest = await createWebGpuBackend({ device });
    const x = guest.upload(data);
    const y = guest.borrow(buffer, { dtype: 'f32', shape: [data.length] });
    expect(guest.memory().tensors).toBe(data.byteLength);
    guest.run(scale, { x, y }, { factor: 4 });
    y.dispose();
    await guest[Symbol.asyncDispose](); // hands in what was enqueued
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(lost).toBe(false);
    const second = await createWebGpuBackend({ device });
    expect(Array.from(await second.read(second.borrow(buffer, { dtype: 'f32', shape: [data.length] })))).toEqual(times(4));
    await expectWorking(second);
    await second[Symbol.asyncDispose]();
    device.destroy();
  });

  test.each([
    ['a number', () => 5],
    ['a typed array', () => new Float32Array(4)],
    ['a buffer that is no storage', (device: GPUDevice) => device.createBuffer({ size: 64, usage: 0x8 })],
    ['a buffer that is too small', (device: GPUDevice) => device.createBuffer({ size: 12, usage: 0x80 })],
  ])('%s cannot be borrowed', async (_, make) => {
    const device = await (await gpu.requestAdapter())!.requestDevice();
    const guest = await createWebGpuBackend({ device });
    const handle = make(device);
    const refusal = expect.objectContaining({ code: 'invalid-argument', argument: 'handle' });
    expect(() => guest.borrow(handle, { dtype: 'f32', shape: [4] })).toThrow(refusal);
    await guest[Symbol.asyncDispose]();
    device.destroy();
  });

  test('exhausted memory is a coded error; freeing what could not be made leaves a working backend', async () => {
    const device = await (await gpu.requestAdapter())!.requestDevice();
    let exhausted = false;
    const guest = await createWebGpuBackend({
      device: new Proxy(device, {
        get(target, key) {
          if (key === 'createBuffer' && exhausted) {
            // The queue of scopes is validation, out-of-memory, internal: fail the second.
            let pops = 0;
            target.popErrorScope = () => Promise.resolve(++pops === 2 ? ({ message: 'no memory left' } as GPUError) : null);
          }
          const value = Reflect.get(target, key, target) as unknown;
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    });
    await guest.flush();
    exhausted = true;
    const x = guest.empty({ dtype: 'f32', shape: [4096] });
    exhausted = false;
    delete (device as { popErrorScope?: unknown }).popErrorScope;
    await expect(guest.read(x)).rejects.toMatchObject({ code: 'out-of-memory' });
    await expect(guest.read(x)).rejects.toMatchObject({ code: 'out-of-memory' });
    x.dispose();
    await expectWorking(guest);
    expect(guest.memory()).toMatchObject({ tensors: 0, weights: 0 });
    await guest[Symbol.asyncDispose]();
    device.destroy();
  });

  test('without an adapter the reason is told', async () => {
    const none = { requestAdapter: async () => null };
    await expect(createWebGpuBackend({ gpu: none })).rejects.toMatchObject({
      code: 'no-backend',
      message: expect.stringContaining('adapter'),
    });
  });

  test('a trace tells the time on the device, or that there is none', async () => {
    const n = 1 << 18;
    using x = backend.upload(new Float32Array(n).fill(2));
    using y = backend.empty({ dtype: 'f32', shape: [n] });
    using none = backend.empty({ dtype: 'f32', shape: [0] });
    using nothing = backend.empty({ dtype: 'f32', shape: [0] });
    const events: TraceEvent[] = [];
    const start = () => backend.trace((event) => events.push(event), { gpu: true });
    if (!backend.features.has('timestamp-query')) {
      expect(start).toThrow(expect.objectContaining({ code: 'unsupported', argument: 'gpu' }));
      return;
    }
    const trace = start();
    backend.run(scaleTwice, { x, y }, { factor: 3 });
    backend.run(scale, { x: none, y: nothing }, { factor: 3 });
    trace[Symbol.dispose]();
    backend.run(scale, { x: y, y: x }, { factor: 1 });
    expect((await backend.read(x)).every((value) => value === 18)).toBe(true);
    await expect.poll(() => events.length).toBe(2);
    expect(events.map(({ op }) => op).sort()).toEqual(['test_scale', 'test_scale_twice']);
    const times = Object.fromEntries(events.map(({ op, gpuMilliseconds }) => [op, gpuMilliseconds]));
    expect(times.test_scale).toBe(0);
    expect(times.test_scale_twice).toBeGreaterThan(0);
  });

  test('in place, in order', async () => {
    const double: GpuKernel = {
      name: 'test-double',
      pieces: [
        `struct Params { n: u32 }
        @group(0) @binding(0) var<uniform> p: Params;
        @group(0) @binding(1) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) g: vec3<u32>) { if (g.x < p.n) { x[g.x] = x[g.x] * 2; } }`,
      ],
    };
    const definition = defineOp()({ name: 'test_double', attrs: {}, io: { x: inout('n') }, cost: () => ({ flops: 0, bytes: 0 }) });
    const webgpu: GpuBinding<typeof definition> = (context, { x }, { n }) => context.dispatch(double, [x], { n }, [Math.ceil(n / 64)]);
    const op = { definition, webgpu };
    const x = backend.upload(data);
    for (let i = 0; i < 10; i++) backend.run(op, { x }, {});
    expect(Array.from(await backend.read(x))).toEqual(times(1024));
    x.dispose();
  });
});
