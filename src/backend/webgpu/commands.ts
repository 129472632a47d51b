/** Dispatches recorded for one submit. They are encoded late and in one go: one compute pass unless ops are timed, one write of all params. */
import { SkipVisionError } from '../errors.ts';
import type { GpuParam } from './binding.ts';
import type { GpuMemory } from './buffers.ts';
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
  operands: readonly GpuMemory[];
  workgroups: readonly [number, number, number];
  /** Wants to know how long the op takes; the same function for all commands of one op. */
  onTime: OnTime | undefined;
}

/** A copy after all dispatches of a submit. */
export interface ReadCopy {
  source: GpuMemory;
  staging: GpuMemory;
  bytes: number;
}

export class CommandList {
  readonly #device: GPUDevice;
  readonly #pipelines: PipelineCache;
  readonly #arena: GPUBuffer;
  readonly #params = new DataView(new ArrayBuffer(ARENA_BYTES));
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

  /** Tells the ops that are recorded, each once; also after their submit. */
  get ops(): () => string {
    const commands = this.#commands;
    return () => [...new Set(commands.map(({ op }) => op))].join(', ');
  }

  push(command: Command, params: readonly GpuParam[]): void {
    if (params.length * 4 > PARAMS_BYTES) {
      throw new SkipVisionError('backend-failed', `${command.op}: ${params.length} params do not fit ${PARAMS_BYTES} bytes`, {
        op: command.op,
      });
    }
    let at = this.#commands.length * PARAMS_BYTES;
    for (const param of params) {
      if (typeof param === 'number') this.#params.setUint32(at, param, true);
      else this.#params.setFloat32(at, param.f32, true);
      at += 4;
    }
    if (command.onTime) this.#timed = true;
    if (!command.pipeline.compiled) this.missing.add(command.pipeline);
    this.#commands.push(command);
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
      queue.writeBuffer(this.#arena, 0, this.#params.buffer, 0, commands.length * PARAMS_BYTES);
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
    if (copy) encoder.copyBufferToBuffer(copy.source.buffer, 0, copy.staging.buffer, 0, copy.bytes);
    queue.submit([encoder.finish()]);
    told?.();
  }
}
