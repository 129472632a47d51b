/** Dispatches recorded for one submit. They are encoded late and in one go: one compute pass unless ops are timed, one write of all params. */
import type { GpuParams } from './binding.ts';
import type { GpuMemory, GpuRange } from './buffers.ts';
import { refusal } from './kernel.ts';
import { PARAMS_BYTES, type Pipeline, type PipelineCache } from './pipelines.ts';
import { type OnTime, Timestamps } from './timestamps.ts';

/** Slots of the uniform arena, one for each dispatch of a submit. */
export const ARENA_SLOTS = 1024;
export const ARENA_BYTES = ARENA_SLOTS * PARAMS_BYTES;
/** The dynamic offset of each slot. As lists of one, which bindings to native code read sooner than a part of a typed array. */
const OFFSETS: readonly number[][] = Array.from({ length: ARENA_SLOTS }, (_, slot) => [slot * PARAMS_BYTES]);

interface Command {
  op: string;
  pipeline: Pipeline;
  operands: readonly GpuRange[];
  workgroups: readonly [number, number, number];
  /** Wants to know how long the op takes; the same function for all commands of one op. */
  onTime: OnTime | undefined;
}

/** A copy after all dispatches of a submit. */
export interface ReadCopy {
  source: GpuMemory;
  offset: number;
  staging: GpuMemory;
  bytes: number;
}

export class CommandList {
  readonly #device: GPUDevice;
  readonly #pipelines: PipelineCache;
  readonly #arena: GPUBuffer;
  /** Params of the recorded commands, a slot each. */
  readonly #words = new Uint32Array(ARENA_BYTES / 4);
  readonly #floats = new Float32Array(this.#words.buffer);
  /** What the recorded commands need and was not compiled when they were recorded. */
  readonly missing = new Set<Pipeline>();
  #commands: Command[] = [];
  #timed = false;

  constructor(device: GPUDevice, pipelines: PipelineCache, arena: GPUBuffer) {
    this.#device = device;
    this.#pipelines = pipelines;
    this.#arena = arena;
  }

  get length(): number {
    return this.#commands.length;
  }

  /** Names the recorded ops, each once; also after their submit. */
  get ops(): () => string {
    const commands = this.#commands;
    return () => [...new Set(commands.map(({ op }) => op))].join(', ');
  }

  push(command: Command, params: GpuParams): void {
    this.#write(command.pipeline, params);
    if (command.onTime) this.#timed = true;
    if (!command.pipeline.compiled) this.missing.add(command.pipeline);
    this.#commands.push(command);
  }

  /** Fills the slot of the next command. The compiler sees the names of most params; those of others are checked here. */
  #write({ kernel, params: fields }: Pipeline, params: GpuParams): void {
    let at = (this.#commands.length * PARAMS_BYTES) / 4;
    for (let i = 0; i < fields.length; i++, at++) {
      const { name, isFloat } = fields[i]!;
      const value = params[name] as number; // or a boolean
      if (isFloat ? typeof value !== 'number' : value >>> 0 !== +value) {
        throw refusal(kernel, `${name} is ${value}, expected ${isFloat ? 'f32' : 'u32'}`);
      }
      if (isFloat) this.#floats[at] = value;
      else this.#words[at] = value;
    }
    let names = 0;
    for (const _ in params) names++;
    if (names > fields.length)
      throw refusal(kernel, `got params ${Object.keys(params).join()}, expected ${fields.map(({ name }) => name).join()}`);
  }

  /** Forgets what was recorded after the first `length` commands. */
  truncate(length: number): void {
    this.#commands.length = length;
    this.#timed = this.#commands.some(({ onTime }) => onTime);
    for (const pipeline of this.missing)
      if (!this.#commands.some((command) => command.pipeline === pipeline)) this.missing.delete(pipeline);
  }

  /** Hands everything to the queue and starts an empty list. Nothing may be missing. */
  submit(copy: ReadCopy | undefined): void {
    const commands = this.#commands;
    this.#commands = [];
    const { queue } = this.#device;
    const encoder = this.#device.createCommandEncoder();
    let told: (() => void) | undefined;
    if (commands.length) {
      queue.writeBuffer(this.#arena, 0, this.#words.buffer, 0, commands.length * PARAMS_BYTES);
      const timing = this.#timed ? new Timestamps(this.#device, commands.length) : undefined;
      this.#timed = false;
      let pass: GPUComputePassEncoder | undefined;
      let timed: OnTime | undefined;
      let current: Pipeline | undefined;
      for (let slot = 0; slot < commands.length; slot++) {
        const { pipeline, operands, workgroups, onTime } = commands[slot]!;
        if (!pass || onTime !== timed) {
          pass?.end();
          pass = encoder.beginComputePass(onTime && timing?.pass(onTime));
          timed = onTime;
          current = undefined;
        }
        if (pipeline !== current) pass.setPipeline(pipeline.compiled!);
        current = pipeline;
        pass.setBindGroup(0, this.#pipelines.bindGroup(pipeline, this.#arena, operands), OFFSETS[slot]!);
        pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
      }
      pass?.end();
      told = timing?.resolve(encoder);
    }
    if (copy) encoder.copyBufferToBuffer(copy.source.buffer, copy.offset, copy.staging.buffer, 0, copy.bytes);
    queue.submit([encoder.finish()]);
    told?.();
  }
}
