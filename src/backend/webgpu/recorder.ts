/** Records the dispatches of ops, and hands them to the device many at a time. */
import { SkipVisionError } from '../errors.ts';
import type { TypedArray } from '../tensor.ts';
import type { Constants, GpuContext, GpuOperand, GpuParams, Shapes } from './binding.ts';
import { type BufferPool, COPY_DST, type GpuMemory, type GpuRange, memoryOf, UNIFORM } from './buffers.ts';
import { ARENA_BYTES, ARENA_SLOTS, CommandList, type ReadCopy } from './commands.ts';
import type { OpenDevice } from './device.ts';
import type { Faults, Outcome } from './faults.ts';
import { type GpuKernel, refusal } from './kernel.ts';
import { type Pipeline, PipelineCache } from './pipelines.ts';
import type { OnTime } from './timestamps.ts';

/**
 * Dispatches after which a batch is submitted: soon while the GPU has nothing to do and the kernels are compiled, then seldom, as a
 * submit costs as much as ten.
 */
const FIRST_SUBMIT_AT = 64;
const SUBMIT_AT = 512;
const NONE: Pipeline[] = [];
const NO_CONSTANTS: Constants = {};
/** Bytes from which a write may exhaust memory: WebGPU copies what it is given. */
const LARGE_UPLOAD = 2 ** 20;

export class Recorder {
  /** What ops record with. */
  readonly context: GpuContext & { shapes: Shapes };
  readonly pipelines: PipelineCache;
  /** Whether all that was submitted is known to be done. */
  idle = true;
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #pool: BufferPool;
  readonly #mostBytes: number;
  /** Workgroups per dimension; a device answers this slowly. */
  readonly #mostWorkgroups: number;
  readonly #compilesInTurn: boolean;
  readonly #arena: GPUBuffer;
  readonly #commands: CommandList;
  #op = '';
  #onTime: OnTime | undefined;
  #scratches: GpuMemory[] = [];
  /** Stand-ins for absent operands: one that is read, and one for each operand index that is written. */
  #dummies = new Map<number, GpuMemory>();

  constructor({ device, features, vendor, limits }: OpenDevice, faults: Faults, pool: BufferPool) {
    this.#device = device;
    this.#faults = faults;
    this.#pool = pool;
    this.#mostBytes = limits.maxBufferBytes;
    this.#mostWorkgroups = device.limits.maxComputeWorkgroupsPerDimension;
    this.#compilesInTurn = features.has('software-adapter');
    this.pipelines = new PipelineCache(device);
    this.#arena = faults.watchSetup('params', () => device.createBuffer({ size: ARENA_BYTES, usage: UNIFORM | COPY_DST }));
    this.#commands = new CommandList(device, this.pipelines, this.#arena);
    this.context = {
      features,
      vendor,
      shapes: {},
      dispatch: (kernel, operands, params, workgroups, constants) => this.#dispatch(kernel, operands, params, workgroups, constants),
      scratch: (bytes) => this.#scratch(bytes, false),
      upload: (data) => {
        const memory = this.#scratch(data.byteLength, true);
        this.write(memory, data);
        return memory;
      },
    };
  }

  /** Records what `work` dispatches: all of it, or where it throws nothing. */
  record(op: string, onTime: OnTime | undefined, work: () => void): void {
    const start = this.#commands.length;
    const { batch } = this.#faults;
    this.#op = op;
    this.#onTime = onTime;
    try {
      work();
    } catch (error) {
      if (batch === this.#faults.batch) this.#commands.truncate(start);
      throw error;
    } finally {
      for (const scratch of this.#scratches) this.#pool.release(scratch, this.#faults.batch);
      this.#scratches = [];
    }
    if (batch === this.#faults.batch && this.#commands.length === start) onTime?.(0); // nothing to do
    // A submit compiles missing kernels one after the other on this thread. A flush or a pause compiles them beside other work, so while some
    // are missing more is recorded before a submit.
    const enough = this.idle && !this.missing().length ? FIRST_SUBMIT_AT : SUBMIT_AT;
    if (this.#commands.length >= enough) this.submit();
  }

  /** Takes effect after all that is recorded. */
  write(memory: GpuMemory, data: TypedArray, byteOffset = 0): void {
    if (data.byteLength === 0) return;
    // The write would run before what was recorded.
    if (memory.usedBy >= this.#faults.batch) this.submit();
    // Dawn refuses views of shared memory.
    const view = data.buffer instanceof ArrayBuffer ? (data as TypedArray & ArrayBufferView<ArrayBuffer>) : data.slice();
    const write = () => this.#device.queue.writeBuffer(memory.buffer, byteOffset, view.buffer, view.byteOffset, view.byteLength);
    // Error scopes cost more than a small write, and that can only fail where the buffer did.
    if (memory.proven && data.byteLength < LARGE_UPLOAD) write();
    else this.#faults.watchSetup('upload', write);
  }

  /** What recorded work needs and can be compiled beside it. Software adapters compile in turn, and lose time when asked for several. */
  missing(): Pipeline[] {
    const { missing } = this.#commands;
    if (!missing.size || this.#compilesInTurn) return NONE;
    return Array.from(missing).filter(({ compiled }) => !compiled);
  }

  submit(copy?: ReadCopy): Outcome | undefined {
    if (!this.#commands.length && !copy) return undefined;
    this.idle = false;
    for (const pipeline of this.#commands.missing) if (!pipeline.compiled) this.#compile(pipeline);
    this.#commands.missing.clear();
    const outcome = this.#faults.watchBatch(this.#commands.length ? this.#commands.ops : () => 'read', () => this.#commands.submit(copy));
    if (this.#pool.submitted()) this.pipelines.forgetBindGroups();
    return outcome;
  }

  dispose(): void {
    this.pipelines.forgetBindGroups();
    this.#arena.destroy();
  }

  #dispatch(
    kernel: GpuKernel,
    operands: readonly (GpuOperand | undefined)[],
    params: GpuParams,
    [x, y = 1, z = 1]: readonly [x: number, y?: number, z?: number],
    constants: Constants = NO_CONSTANTS,
  ): void {
    if (x === 0 || y === 0 || z === 0) return;
    if (this.#commands.length >= ARENA_SLOTS) this.submit();
    const pipeline = this.pipelines.find(kernel, constants) ?? this.#make(kernel, constants);
    if (operands.length !== pipeline.access.length) {
      throw refusal(kernel.name, `got ${operands.length} operands, expected ${pipeline.access.length}`);
    }
    const bound: GpuRange[] = [];
    for (let i = 0; i < operands.length; i++) {
      const range = (operands[i] as GpuRange | undefined) ?? this.#dummy(pipeline.access[i] === 'read' ? -1 : i);
      const { failure } = memoryOf(range);
      if (failure) throw failure;
      bound.push(range);
    }
    const { batch } = this.#faults;
    for (let i = 0; i < bound.length; i++) {
      const memory = memoryOf(bound[i]!);
      memory.usedBy = batch;
      if (pipeline.access[i] === 'read_write') this.#faults.wrote(memory);
    }
    this.#commands.push({ op: this.#op, pipeline, operands: bound, workgroups: this.#fold(x, y, z), onTime: this.#onTime }, params);
  }

  #make(kernel: GpuKernel, constants: Constants): Pipeline {
    return this.#faults.watchSetup(`kernel ${kernel.name}`, () => this.pipelines.make(kernel, constants));
  }

  /** Spreads x over y where it exceeds the limit: as evenly as possible, so that few workgroups are idle. */
  #fold(x: number, y: number, z: number): readonly [number, number, number] {
    const most = this.#mostWorkgroups;
    if (x <= most && y <= most && z <= most) return [x, y, z];
    const folds = Math.ceil(x / most);
    if (y > 1 || folds > most || z > most) {
      throw new SkipVisionError('unsupported', `${this.#op}: ${x} x ${y} x ${z} workgroups, the device takes ${most} per dimension`, {
        op: this.#op,
      });
    }
    return [Math.ceil(x / folds), folds, z];
  }

  #scratch(bytes: number, fresh: boolean): GpuMemory {
    if (bytes > this.#mostBytes) {
      throw new SkipVisionError(
        'out-of-memory',
        `${this.#op}: needs a scratch buffer of ${bytes} bytes, the device takes at most ${this.#mostBytes}`,
        { op: this.#op },
      );
    }
    const memory = this.#pool.acquire(bytes, this.#faults.batch, fresh);
    this.#scratches.push(memory);
    return memory;
  }

  #dummy(key: number): GpuMemory {
    let memory = this.#dummies.get(key);
    if (!memory) {
      memory = this.#pool.create(256);
      this.#dummies.set(key, memory);
    }
    return memory;
  }

  /** A device reports a refused kernel through an error scope. Where it throws instead, nothing that is recorded can be submitted. */
  #compile(pipeline: Pipeline): void {
    try {
      this.#faults.watchSetup(`kernel ${pipeline.kernel}`, () => this.pipelines.compile(pipeline));
    } catch (cause) {
      const op = `kernel ${pipeline.kernel}`;
      this.#faults.spoil(new SkipVisionError('backend-failed', `WebGPU: ${op}: ${String(cause)}`, { op, cause }));
      this.#commands.truncate(0);
    }
  }
}
