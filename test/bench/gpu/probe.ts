/** What the adapter can do at most: multiply-adds and int8 dot products in registers, reads and copies of memory. */
import copyCode from './copy.wgsl';
import dotCode from './dot.wgsl';
import fmaCode from './fma.wgsl';
import readCode from './read.wgsl';
import { codeOf } from '../../../src/backend/webgpu/kernel.ts';
import type { Chain } from './chain.ts';

export interface Rate {
  chain: Chain;
  /** Operations (two per multiply-add) or bytes of one block. */
  amount: number;
}

export type Peak = 'FMA f32' | 'FMA f16' | 'dot4I8Packed' | 'read' | 'copy' | 'copyBufferToBuffer';

const MIB = 2 ** 20;
const THREADS = 64;
/** A block lasts at least that long, far above what submitting it costs. */
const BLOCK_MS = { software: 4, hardware: 1 } as const;

export class Probe {
  readonly #device: GPUDevice;
  readonly #software: boolean;
  readonly #rates = new Map<Peak, Rate>();

  private constructor(device: GPUDevice, software: boolean) {
    this.#device = device;
    this.#software = software;
  }

  static async open(device: GPUDevice, software: boolean): Promise<Probe> {
    const probe = new Probe(device, software);
    const fma = (type: string, enable = '') => `${enable}alias Number = ${type};\n${codeOf(fmaCode)}`;
    const operations = 8 * 4 * 2;
    await probe.#compute('FMA f32', fma('f32'), operations);
    if (device.features.has('shader-f16')) await probe.#compute('FMA f16', fma('f16', 'enable f16;\n'), operations);
    await probe.#compute('dot4I8Packed', codeOf(dotCode), 8 * 8);
    await probe.#memory();
    return probe;
  }

  get names(): Peak[] {
    return [...this.#rates.keys()];
  }

  /** undefined where the adapter lacks it. */
  rate(name: Peak): Rate | undefined {
    return this.#rates.get(name);
  }

  /** Turns of the kernel's loop double until a block takes long enough. */
  async #compute(name: Peak, code: string, perTurn: number): Promise<void> {
    const groups = this.#software ? 64 : 8192;
    const out = this.#device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
    for (let turns = 64; ; turns *= 2) {
      const chain = await this.#dispatches(code, turns, [out], groups);
      await chain(1);
      const start = performance.now();
      await chain(1);
      if (performance.now() - start < BLOCK_MS[this.#software ? 'software' : 'hardware']) continue;
      this.#rates.set(name, { chain, amount: groups * THREADS * turns * perTurn });
      return;
    }
  }

  /** Copies of one piece of memory; `release` frees it. */
  async copiesOf(size: number): Promise<{ kernel: Chain; buffer: Chain; read: Chain; release(): void }> {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const [source, goal] = [this.#device.createBuffer({ size, usage }), this.#device.createBuffer({ size, usage })];
    const groups = this.#software ? 16 : 4096;
    const buffer = async (blocks: number) => {
      const encoder = this.#device.createCommandEncoder();
      for (let i = 0; i < blocks; i++) encoder.copyBufferToBuffer(source, 0, goal, 0, size);
      await this.#finish(encoder);
    };
    return {
      kernel: await this.#dispatches(codeOf(copyCode), size / 16, [goal, source], groups),
      buffer,
      read: await this.#dispatches(codeOf(readCode), size / 16, [goal, source], groups),
      release() {
        source.destroy();
        goal.destroy();
      },
    };
  }

  async #memory(): Promise<void> {
    const wanted = this.#software ? 16 * MIB : 512 * MIB;
    const amount = Math.min(wanted, this.#device.limits.maxStorageBufferBindingSize, this.#device.limits.maxBufferSize);
    const { read, kernel, buffer } = await this.copiesOf(amount);
    this.#rates.set('read', { chain: read, amount });
    this.#rates.set('copy', { chain: kernel, amount });
    this.#rates.set('copyBufferToBuffer', { chain: buffer, amount });
  }

  /** A chain of dispatches of one kernel; `count` is its uniform. */
  async #dispatches(code: string, count: number, buffers: readonly GPUBuffer[], groups: number): Promise<Chain> {
    const device = this.#device;
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const uniform = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(uniform, 0, Uint32Array.of(count, 0, 0, 0));
    const entries = [uniform, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return async (blocks) => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < blocks; i++) pass.dispatchWorkgroups(groups);
      pass.end();
      await this.#finish(encoder);
    };
  }

  #finish(encoder: GPUCommandEncoder): Promise<undefined> {
    this.#device.queue.submit([encoder.finish()]);
    return this.#device.queue.onSubmittedWorkDone();
  }
}
