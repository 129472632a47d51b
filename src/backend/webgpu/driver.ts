/** The WebGPU backend: dispatches are recorded, and encoded as one compute pass per submit. */
import type { Backend, Driver, Feature, Limits, LossInfo, Pause, Rejection } from '../backend.ts';
import { createBackend } from '../create.ts';
import { SkipVisionError } from '../errors.ts';
import type { Op, Signature } from '../op.ts';
import { bytesOf, type Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type Weight, type WeightDType } from '../weight.ts';
import type { MatrixReader } from '../weight-source.ts';
import { yieldToOthers } from '../yield.ts';
import type { GpuContext, GpuIo, GpuKernel, GpuOperand, GpuParam, GpuWeight, Shapes } from './binding.ts';
import { BufferPool, borrowBuffer, COPY_DST, COPY_SRC, type GpuMemory, MAP_READ, STORAGE, UNIFORM } from './buffers.ts';
import { ARENA_BYTES, ARENA_SLOTS, CommandList, type ReadCopy } from './commands.ts';
import { type DeviceOptions, openDevice, type OpenDevice } from './device.ts';
import { Faults, type Outcome } from './faults.ts';
import { packSlice, planSlices } from './pack.ts';
import { type Pipeline, PipelineCache } from './pipelines.ts';
import type { OnTime } from './timestamps.ts';
import { type Tuning, tune } from '../../ops/product/tune-webgpu.ts';

export type { DeviceOptions, GpuDeviceLike, GpuLike } from './device.ts';
export type { Shapes } from './binding.ts';
export type { Tuning } from '../../ops/product/tune-webgpu.ts';

/**
 * Dispatches after which a batch is submitted: soon while the GPU has nothing to do and the kernels are compiled, then seldom, as a
 * submit costs as much as ten.
 */
const FIRST_SUBMIT_AT = 64;
const SUBMIT_AT = 512;
const NONE: Pipeline[] = [];
/** Bytes from which a write may exhaust memory: WebGPU copies what it is given. */
const LARGE_UPLOAD = 2 ** 20;

class WebGpuDriver implements Driver {
  readonly name = 'webgpu';
  description: string;
  readonly features: ReadonlySet<Feature>;
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits: Limits;
  readonly lost: Promise<LossInfo>;
  readonly keepAlive: readonly unknown[];
  readonly #device: GPUDevice;
  readonly #ownsDevice: boolean;
  readonly #faults: Faults;
  readonly #pool: BufferPool;
  readonly #staging: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #arena: GPUBuffer;
  readonly #commands: CommandList;
  /** Workgroups per dimension; a device answers this slowly. */
  readonly #mostWorkgroups: number;
  readonly #context: GpuContext & { shapes: Shapes };
  /** Rejectors of reads that wait for the device. */
  readonly #waiting = new Set<(error: SkipVisionError) => void>();
  #settleLost!: (info: LossInfo) => void;
  #lossError: SkipVisionError | undefined;
  /** Whether all that was submitted is known to be done. */
  #idle = true;
  #op = '';
  #onTime: OnTime | undefined;
  #scratches: GpuMemory[] = [];
  /** Stand-ins for absent operands: one that is read, and one for each operand index that is written. */
  #dummies = new Map<number, GpuMemory>();

  constructor({ device, owned, description, vendor, features, limits, keepAlive }: OpenDevice) {
    this.#device = device;
    this.#ownsDevice = owned;
    this.description = description;
    this.features = features;
    this.limits = limits;
    this.keepAlive = keepAlive;
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
    void device.lost.then((info) => this.#lose({ reason: info.reason === 'destroyed' ? 'destroyed' : 'unknown', message: info.message }));
    this.#mostWorkgroups = device.limits.maxComputeWorkgroupsPerDimension;
    this.#faults = new Faults(device);
    const guard = (make: () => GpuMemory): GpuMemory => {
      const memory: GpuMemory = this.#faults.watch('buffer', make, (failure) => this.#faults.made(memory, failure));
      return memory;
    };
    this.#pool = new BufferPool(device, STORAGE | COPY_SRC | COPY_DST, limits.maxBufferBytes, guard);
    this.#staging = new BufferPool(device, MAP_READ | COPY_DST, limits.maxBufferBytes, guard);
    this.#pipelines = new PipelineCache(device);
    this.#arena = this.#faults.watchSetup('params', () => device.createBuffer({ size: ARENA_BYTES, usage: UNIFORM | COPY_DST }));
    this.#commands = new CommandList(device, this.#pipelines, this.#arena);
    this.#context = {
      features,
      vendor,
      shapes: {},
      dispatch: (...call) => this.#dispatch(...call),
      scratch: (bytes) => this.#scratch(bytes, false),
      upload: (data) => {
        const memory = this.#scratch(data.byteLength, true);
        this.write(memory, data);
        return memory;
      },
    };
  }

  allocate(bytes: number): GpuMemory {
    return this.#pool.acquire(bytes, this.#faults.batch, true);
  }

  free(handle: unknown): void {
    this.#pool.release(handle as GpuMemory, this.#faults.batch);
  }

  write(handle: unknown, data: TypedArray, byteOffset = 0): void {
    const memory = handle as GpuMemory;
    if (data.byteLength === 0) return;
    // The write would run before what was recorded.
    if (memory.usedBy >= this.#faults.batch) this.#submit();
    // Dawn refuses views of shared memory.
    const view = data.buffer instanceof ArrayBuffer ? (data as TypedArray & ArrayBufferView<ArrayBuffer>) : data.slice();
    const write = () => this.#device.queue.writeBuffer(memory.buffer, byteOffset, view.buffer, view.byteOffset, view.byteLength);
    // Error scopes cost more than a small write, and that can only fail where the buffer did.
    if (memory.proven && data.byteLength < LARGE_UPLOAD) write();
    else this.#faults.watchSetup('upload', write);
  }

  adopt(handle: unknown, desc: TensorDesc): GpuMemory {
    return borrowBuffer(handle, bytesOf(desc), this.limits.maxBufferBytes);
  }

  async pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: GpuWeight; bytes: number }> {
    const { shape, slices } = planSlices(matrices, dtype, this.limits.maxBufferBytes);
    const made: { operand: GpuMemory; first: number; count: number }[] = [];
    const weight: GpuWeight = { slices: made, parts: shape.parts, dtype, zeros: shape.zeros };
    try {
      for (const slice of slices) {
        const operand = this.#pool.create(slice.bytes);
        made.push({ operand, first: slice.first, count: slice.count });
        await packSlice(matrices, shape, slice, (offset, chunk) => this.write(operand, chunk, offset), pause);
        await this.#orLost(this.#faults.settle());
        if (operand.failure) this.#faults.check();
        if (operand.failure) throw operand.failure;
      }
    } catch (error) {
      this.freeWeight(weight);
      throw error;
    }
    return { handle: weight, bytes: slices.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  freeWeight(handle: unknown): void {
    for (const { operand } of (handle as GpuWeight).slices) this.#pool.destroy(operand as GpuMemory, this.#faults.batch);
    this.#pipelines.forgetBindGroups();
  }

  run(
    op: Op,
    operands: Readonly<Record<string, Tensor | Weight | undefined>>,
    dims: Readonly<Record<string, number>>,
    attrs: object,
    onTime?: OnTime,
  ): void {
    this.#faults.check();
    const io: Record<string, unknown> = {};
    for (const name in operands) {
      const operand = operands[name];
      if (operand) io[name] = 'storage' in operand ? operand.storage.handle : operand.handle;
    }
    const start = this.#commands.length;
    const { batch } = this.#faults;
    this.#op = op.name;
    this.#onTime = onTime;
    try {
      op.webgpu(this.#context, io as GpuIo<Signature>, dims, attrs);
    } catch (error) {
      // What this op recorded before it failed must not run.
      if (batch === this.#faults.batch) this.#commands.truncate(start);
      throw error;
    } finally {
      for (const scratch of this.#scratches) this.#pool.release(scratch, this.#faults.batch);
      this.#scratches = [];
    }
    if (batch === this.#faults.batch && this.#commands.length === start) onTime?.(0); // nothing to do
    // A submit compiles what is missing, one after the other: a flush or a pause does so beside other work, so wait for one a while.
    const enough = this.#idle && !this.#toPrepare().length ? FIRST_SUBMIT_AT : SUBMIT_AT;
    if (this.#commands.length >= enough) this.#submit();
  }

  async read(handle: unknown, bytes: number): Promise<ArrayBuffer> {
    const source = handle as GpuMemory;
    this.#trust(source);
    if (!(source.buffer.usage & COPY_SRC)) {
      throw new SkipVisionError('invalid-argument', 'read: the borrowed buffer lacks usage COPY_SRC', { op: 'read', argument: 'tensor' });
    }
    const staging = bytes === 0 ? undefined : this.#staging.acquire(bytes, 0, false);
    if (this.#faults.isSpoilt) this.#submit(); // or the copy would be refused with it
    const submitted = this.#submit(staging && { source, staging, bytes });
    const { batch } = this.#faults;
    const mapped = staging?.buffer.mapAsync(MAP_READ, 0, bytes).then(
      () => undefined,
      (error: unknown) => error,
    );
    try {
      const refusal = await this.#orLost(Promise.resolve(mapped));
      await this.#orLost(this.#faults.settle());
      this.#trust(source);
      if (submitted?.failure) throw submitted.failure; // also where somebody else was told of it
      this.#idle ||= batch === this.#faults.batch;
      if (refusal)
        throw new SkipVisionError('backend-failed', `read: the result could not be mapped: ${String(refusal)}`, {
          op: 'read',
          cause: refusal,
        });
      const copy = staging ? staging.buffer.getMappedRange(0, bytes).slice(0) : new ArrayBuffer(0);
      staging?.buffer.unmap();
      if (staging) this.#staging.release(staging, 0);
      return copy;
    } catch (error) {
      if (staging) this.#staging.destroy(staging, 0);
      throw error;
    }
  }

  async tune(budgetMs: number): Promise<Tuning> {
    const context = this.#context;
    const tuning = await this.#orLost(
      tune(
        {
          features: this.features,
          vendor: context.vendor,
          // A kernel that is refused is no candidate, and nobody's fault.
          prepare: (kernel, constants) =>
            this.#pipelines.prepare(this.#pipelines.get(kernel, constants, (make) => this.#faults.watch('tune', make, () => {}))),
          allocate: (bytes) => this.allocate(bytes),
          free: (operand) => this.free(operand),
          write: (operand, data) => this.write(operand, data),
          run: (shapes, work) => {
            const { shapes: kept } = context;
            context.shapes = shapes;
            try {
              this.run({ name: 'tune', webgpu: work } as unknown as Op, {}, {}, {});
            } finally {
              context.shapes = kept;
            }
          },
          read: (operand, bytes) => this.read(operand, bytes),
        },
        budgetMs,
      ),
    );
    this.applyTuning(tuning);
    return tuning;
  }

  applyTuning({ shapes }: Pick<Tuning, 'shapes'>): void {
    this.#context.shapes = shapes;
    const chosen = Object.entries(shapes).map(([rows, shape]) => `${rows} rows ${JSON.stringify(shape)}`);
    this.description = `${this.description.split(', tuned: ')[0]}, tuned: ${chosen.join(', ') || 'nothing faster found'}`;
  }

  async prepare(): Promise<void> {
    const pipelines = this.#toPrepare();
    if (!pipelines.length) return;
    // Who is refused is told by the submit, which tries again and knows whom it spoils.
    await this.#orLost(Promise.allSettled(pipelines.map((pipeline) => this.#pipelines.prepare(pipeline))));
  }

  async flush(): Promise<void> {
    if (this.#toPrepare().length) await this.prepare();
    this.#submit(); // before the first wait where nothing is missing: the GPU starts at once
    await yieldToOthers();
    this.#faults.check();
  }

  reserved(): number {
    return this.#pool.reserved + this.#staging.reserved + ARENA_BYTES;
  }

  async dispose(): Promise<void> {
    this.#submit(); // may write memory of the caller
    this.#pipelines.forgetBindGroups();
    this.#pool.dispose();
    this.#staging.dispose();
    this.#arena.destroy();
    if (this.#ownsDevice) this.#device.destroy();
    this.#lose({ reason: 'destroyed', message: 'the backend was disposed' });
  }

  #dispatch(
    kernel: GpuKernel,
    operands: readonly (GpuOperand | undefined)[],
    params: readonly GpuParam[],
    [x, y = 1, z = 1]: readonly [x: number, y?: number, z?: number],
    constants: Readonly<Record<string, number>> = {},
  ): void {
    if (x === 0 || y === 0 || z === 0) return;
    if (this.#commands.length >= ARENA_SLOTS) this.#submit();
    const pipeline = this.#pipeline(kernel, constants);
    if (operands.length !== pipeline.access.length) {
      throw new SkipVisionError(
        'backend-failed',
        `kernel ${kernel.name} takes ${pipeline.access.length} operands, got ${operands.length}`,
        { op: this.#op },
      );
    }
    const bound: GpuMemory[] = [];
    for (let i = 0; i < operands.length; i++) {
      const memory = (operands[i] as GpuMemory | undefined) ?? this.#dummy(pipeline.access[i] === 'read' ? -1 : i);
      if (memory.failure) throw memory.failure;
      bound.push(memory);
    }
    const { batch } = this.#faults;
    for (let i = 0; i < bound.length; i++) {
      bound[i]!.usedBy = batch;
      if (pipeline.access[i] === 'read_write') this.#faults.wrote(bound[i]!);
    }
    this.#commands.push({ op: this.#op, pipeline, operands: bound, workgroups: this.#fold(x, y, z), onTime: this.#onTime }, params);
  }

  #pipeline(kernel: GpuKernel, constants: Readonly<Record<string, number>>): Pipeline {
    return this.#pipelines.get(kernel, constants, (make) => this.#faults.watchSetup(`kernel ${kernel.name}`, make));
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
    if (bytes > this.limits.maxBufferBytes) {
      throw new SkipVisionError(
        'out-of-memory',
        `${this.#op}: needs a scratch buffer of ${bytes} bytes, the device takes at most ${this.limits.maxBufferBytes}`,
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

  /** What recorded work needs and can be compiled beside it. Software adapters compile in turn, and lose time when asked for several. */
  #toPrepare(): Pipeline[] {
    const { missing } = this.#commands;
    if (!missing.size || this.features.has('software-adapter')) return NONE;
    return Array.from(missing).filter(({ compiled }) => !compiled);
  }

  #submit(copy?: ReadCopy): Outcome | undefined {
    if (!this.#commands.length && !copy) return undefined;
    this.#idle = false;
    for (const pipeline of this.#commands.missing) if (!pipeline.compiled) this.#compile(pipeline);
    this.#commands.missing.clear();
    const outcome = this.#faults.watchBatch(this.#commands.length ? this.#commands.ops : () => 'read', () => this.#commands.submit(copy));
    if (this.#pool.submitted()) this.#pipelines.forgetBindGroups();
    return outcome;
  }

  /** Where the device throws instead of refusing, what is recorded cannot be handed over. */
  #compile(pipeline: Pipeline): void {
    try {
      this.#faults.watchSetup(`kernel ${pipeline.kernel}`, () => this.#pipelines.compile(pipeline));
    } catch (cause) {
      const op = `kernel ${pipeline.kernel}`;
      this.#faults.spoil(new SkipVisionError('backend-failed', `WebGPU: ${op}: ${String(cause)}`, { op, cause }));
      this.#commands.truncate(0);
    }
  }

  /** Throws what is known to be wrong with the memory, or with anything since the last call. */
  #trust(memory: GpuMemory): void {
    this.#faults.check();
    if (memory.failure) throw memory.failure;
  }

  /** Rejects when the device is lost first. Not a race with `lost`, which would hold every read's closures for ever. */
  #orLost<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lossError) reject(this.#lossError);
      this.#waiting.add(reject);
      void work.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  #lose(info: LossInfo): void {
    this.#settleLost(info);
    this.#lossError = new SkipVisionError('device-lost', `the webgpu device was lost (${info.reason}): ${info.message}`);
    for (const reject of this.#waiting) reject(this.#lossError);
    this.#waiting.clear();
  }
}

const drivers = new WeakMap<Backend, WebGpuDriver>();

/**
 * WebGPU on the device given, or on one requested here. Throws 'no-backend' with the reason where there is none.
 * A device of the caller is used as it is and survives `dispose`.
 */
export async function createWebGpuBackend(
  options: DeviceOptions & { rejected?: readonly Rejection[]; tuning?: Pick<Tuning, 'shapes'> } = {},
): Promise<Backend> {
  const driver = new WebGpuDriver(await openDevice(options));
  if (options.tuning) driver.applyTuning(options.tuning);
  const backend = createBackend(driver, options.rejected);
  drivers.set(backend, driver);
  return backend;
}

/**
 * Times shapes of the matrix product kernels on the device for at most `budgetMs` and takes those that are faster and agree with the
 * shapes taken before; `backend.description` tells which. Keep the result as `tuning` of a later backend on the same adapter.
 * Call it before the backend is used, as sums of few rows depend on the shape.
 */
export async function tuneWebGpu(backend: Backend, { budgetMs = 150 }: { budgetMs?: number } = {}): Promise<Tuning> {
  const driver = drivers.get(backend);
  if (!driver) {
    const details = { argument: 'backend', got: backend.name, expected: 'webgpu' };
    throw new SkipVisionError('wrong-backend', `tuneWebGpu: this is a ${backend.name} backend`, details);
  }
  await backend.flush();
  return driver.tune(budgetMs);
}
