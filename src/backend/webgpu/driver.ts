/** The WebGPU backend: dispatches are recorded, and encoded as one compute pass per submit. */
import type { Backend, Driver, Limits, LossInfo, Operands, Pause } from '../backend.ts';
import type { Feature } from '../features.ts';
import { createBackend } from '../create.ts';
import { SkipVisionError } from '../errors.ts';
import * as field from '../fields.ts';
import type { Signature } from '../op.ts';
import type { Op } from '../bound-op.ts';
import { bytesOf, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type WeightDType } from '../weight.ts';
import type { MatrixReader } from '../quantize.ts';
import { yieldToOthers } from '../yield.ts';
import type { Constants, GpuContext, GpuIo, GpuWeight, Shapes } from './binding.ts';
import { BufferPool, borrowBuffer, COPY_DST, COPY_SRC, type GpuMemory, MAP_READ, STORAGE } from './buffers.ts';
import { ARENA_BYTES } from './commands.ts';
import { openDevice, type OpenDevice, WEBGPU_BACKEND_FIELDS, type WebGpuBackendOptions } from './device.ts';
import { Faults } from './faults.ts';
import type { GpuKernel } from './kernel.ts';
import { moveRows } from './move-rows.ts';
import { bindOperands } from './operands.ts';
import { packSlice, planSlices } from './pack.ts';
import { Recorder } from './recorder.ts';
import type { OnTime } from './timestamps.ts';

export type { WebGpuDriver };
export type { DeviceOptions, GpuDeviceLike, GpuLike, WebGpuBackendOptions } from './device.ts';
export type { Shapes } from './binding.ts';

class WebGpuDriver implements Driver {
  readonly name = 'webgpu';
  description: string;
  readonly features: ReadonlySet<Feature>;
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits: Limits;
  readonly lost: Promise<LossInfo>;
  readonly #opened: OpenDevice; // with what must stay referenced
  readonly #faults: Faults;
  readonly #pool: BufferPool;
  readonly #staging: BufferPool;
  readonly #recorder: Recorder;
  readonly #offsetAlignment: number;
  /** Rejectors of reads that wait for the device. */
  readonly #waiting = new Set<(error: SkipVisionError) => void>();
  #settleLost!: (info: LossInfo) => void;
  #lossError: SkipVisionError | undefined;

  constructor(opened: OpenDevice) {
    const { device, features, limits } = opened;
    this.#opened = opened;
    this.description = opened.description;
    this.features = features;
    this.limits = limits;
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
    void device.lost.then((info) => this.#lose({ reason: info.reason === 'destroyed' ? 'destroyed' : 'unknown', message: info.message }));
    this.#offsetAlignment = device.limits.minStorageBufferOffsetAlignment;
    this.#faults = new Faults(device);
    const guard = (make: () => GpuMemory): GpuMemory => {
      const memory: GpuMemory = this.#faults.watch('buffer', make, (failure) => this.#faults.made(memory, failure));
      return memory;
    };
    this.#pool = new BufferPool(device, STORAGE | COPY_SRC | COPY_DST, limits.maxBufferBytes, guard);
    this.#staging = new BufferPool(device, MAP_READ | COPY_DST, limits.maxBufferBytes, guard);
    this.#recorder = new Recorder(opened, this.#faults, this.#pool);
  }

  allocate(bytes: number): GpuMemory {
    return this.#pool.acquire(bytes, this.#faults.batch, true);
  }

  free(handle: unknown): void {
    this.#pool.release(handle as GpuMemory, this.#faults.batch);
  }

  write(handle: unknown, data: TypedArray): void {
    this.#recorder.write(handle as GpuMemory, data);
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
        await packSlice(matrices, shape, slice, (offset, chunk) => this.#recorder.write(operand, chunk, offset), pause);
        await this.orLost(this.#faults.settle());
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
    this.#recorder.pipelines.forgetBindGroups();
  }

  run(op: Op, operands: Operands, dims: Readonly<Record<string, number>>, attrs: object, onTime?: OnTime): void {
    this.#faults.check();
    const { context } = this.#recorder;
    this.#recorder.record(op.definition.name, onTime, () => {
      const { io, back } = bindOperands(context, op.definition.io, operands, this.#offsetAlignment);
      op.webgpu!(context, io as GpuIo<Signature>, dims, attrs);
      for (const move of back) moveRows(context, move);
    });
  }

  async read(handle: unknown, offset: number, bytes: number): Promise<ArrayBuffer> {
    const source = handle as GpuMemory;
    this.#trust(source);
    if (!(source.buffer.usage & COPY_SRC)) {
      throw new SkipVisionError('invalid-argument', 'read: the borrowed buffer lacks usage COPY_SRC', { op: 'read', argument: 'tensor' });
    }
    const staging = bytes === 0 ? undefined : this.#staging.acquire(bytes, 0, false);
    if (this.#faults.isSpoilt) this.#recorder.submit(); // or the copy would be refused with it
    const submitted = this.#recorder.submit(staging && { source, offset, staging, bytes });
    const { batch } = this.#faults;
    const mapped = staging?.buffer.mapAsync(MAP_READ, 0, bytes).then(
      () => undefined,
      (error: unknown) => error,
    );
    try {
      const refusal = await this.orLost(Promise.resolve(mapped));
      await this.orLost(this.#faults.settle());
      this.#trust(source);
      if (submitted?.failure) throw submitted.failure; // also where somebody else was told of it
      this.#recorder.idle ||= batch === this.#faults.batch;
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

  /** For tuning: see GpuContext. */
  get vendor(): string {
    return this.#opened.vendor;
  }

  /** For tuning: compiles beside other work. Rejects where the device refuses the kernel; no later call reports that. */
  async compile(kernel: GpuKernel, constants: Constants): Promise<void> {
    const { pipelines } = this.#recorder;
    const make = () => pipelines.make(kernel, constants);
    await pipelines.prepare(pipelines.find(kernel, constants) ?? this.#faults.watch('tune', make, () => {}));
  }

  /** For tuning: records what `work` dispatches under these shapes. */
  runWith(shapes: Shapes, work: (gpu: GpuContext) => void): void {
    this.#faults.check();
    this.#recorder.record('tune', undefined, () => work({ ...this.#recorder.context, shapes }));
  }

  /** From now on ops take these. */
  keepShapes(shapes: Shapes): void {
    this.#recorder.context.shapes = shapes;
    const chosen = Object.entries(shapes).map(([name, constants]) => `${name} rows ${JSON.stringify(constants)}`);
    this.description = `${this.description.split(', tuned: ')[0]}, tuned: ${chosen.join(', ') || 'nothing faster found'}`;
  }

  async prepare(): Promise<void> {
    const missing = this.#recorder.missing();
    if (!missing.length) return;
    // A kernel that the device refuses is reported by the submit, which tries it again: only that knows which results it spoils.
    await this.orLost(Promise.allSettled(missing.map((pipeline) => this.#recorder.pipelines.prepare(pipeline))));
  }

  async flush(): Promise<void> {
    if (this.#recorder.missing().length) await this.prepare();
    this.#recorder.submit(); // before the first wait where nothing is missing: the GPU starts at once
    await yieldToOthers();
    this.#faults.check();
  }

  reserved(): number {
    return this.#pool.reserved + this.#staging.reserved + ARENA_BYTES;
  }

  async dispose(): Promise<void> {
    this.#recorder.submit(); // may write memory of the caller
    this.#recorder.dispose();
    this.#pool.dispose();
    this.#staging.dispose();
    if (this.#opened.owned) this.#opened.device.destroy();
    this.#lose({ reason: 'destroyed', message: 'the backend was disposed' });
  }

  /** Throws what is known to be wrong with the memory, or with anything since the last call. */
  #trust(memory: GpuMemory): void {
    this.#faults.check();
    if (memory.failure) throw memory.failure;
  }

  /** Rejects when the device is lost first. Not a race with `lost`, which would hold every read's closures for ever. */
  orLost<T>(work: Promise<T>): Promise<T> {
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
export async function createWebGpuBackend(options: WebGpuBackendOptions = {}): Promise<Backend> {
  field.checkFields('createWebGpuBackend', options, WEBGPU_BACKEND_FIELDS);
  const driver = new WebGpuDriver(await openDevice(options));
  if (options.tuning) driver.keepShapes(options.tuning.shapes);
  const backend = createBackend(driver, options.rejected);
  drivers.set(backend, driver);
  return backend;
}

/** What tuning works on; none where the backend is no WebGPU. */
export function webGpuDriverOf(backend: Backend): WebGpuDriver | undefined {
  return drivers.get(backend);
}
