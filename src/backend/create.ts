/** Makes a Backend of a Driver: checks, ownership, accounting and tracing, once for all backends. */
import type { Backend, Driver, MemoryInfo, Rejection, SignalOption, TraceEvent, TraceOptions } from './backend.ts';
import { checkHeld, checkOperands } from './check.ts';
import { invalidArgument, SkipVisionError } from './errors.ts';
import { type AttrsOf, type IoOf, listsOf, type Op } from './op.ts';
import {
  type ArrayOf,
  ARRAYS,
  bytesOf,
  checkedElementCount,
  type DType,
  type Storage,
  Tensor,
  type TensorDesc,
  type TypedArray,
} from './tensor.ts';
import { checkWeightDType, matricesOf, type PackOptions, Weight, type WeightSource } from './weight.ts';
import { readerOf } from './weight-source.ts';
import { yieldToOthers } from './yield.ts';

const DTYPES = Object.keys(ARRAYS) as readonly DType[];

export function createBackend(driver: Driver, rejected: readonly Rejection[] = []): Backend {
  return new CheckedBackend(driver, rejected);
}

class CheckedBackend implements Backend {
  readonly #driver: Driver;
  readonly rejected: readonly Rejection[];
  readonly #sinks = new Set<{ sink: (event: TraceEvent) => void; gpu: boolean }>();
  #tensorBytes = 0;
  #weightBytes = 0;
  #disposed = false;
  #lost: SkipVisionError | undefined;

  constructor(driver: Driver, rejected: readonly Rejection[]) {
    this.#driver = driver;
    this.rejected = rejected;
    void driver.lost.then((info) => {
      if (this.#disposed) return;
      this.#lost = new SkipVisionError(
        'device-lost',
        `the ${driver.name} device was lost (${info.reason}): ${info.message}. Make a new backend and upload again.`,
      );
    });
  }

  get name() {
    return this.#driver.name;
  }
  get description() {
    return this.#driver.description;
  }
  get features() {
    return this.#driver.features;
  }
  get limits() {
    return this.#driver.limits;
  }
  get dtypes() {
    return this.#driver.dtypes;
  }
  get lost() {
    return this.#driver.lost;
  }

  upload(data: Float32Array, shape?: readonly number[]): Tensor<'f32'>;
  upload(data: Uint32Array, shape?: readonly number[]): Tensor<'u32'>;
  upload(data: Uint16Array, shape?: readonly number[]): Tensor<'f16'>;
  upload(data: TypedArray, shape: readonly number[] = [data.length]): Tensor {
    this.#alive();
    const dtype = DTYPES.find((each) => data instanceof ARRAYS[each]);
    if (!dtype) throw invalidArgument('upload', 'data', Object.prototype.toString.call(data), 'a Float32Array, Uint32Array or Uint16Array');
    if (checkedElementCount({ dtype, shape }, 'upload') !== data.length) {
      throw invalidArgument('upload', 'shape', `[${shape}] for ${data.length} elements`, 'a shape with as many elements as data');
    }
    const tensor = this.#make('upload', { dtype, shape }, data instanceof Uint32Array ? data.slice() : undefined);
    this.#driver.write(tensor.storage.handle, data);
    return tensor;
  }

  empty<D extends DType>(desc: TensorDesc<D>): Tensor<D> {
    this.#alive();
    checkDType('empty', desc);
    return this.#make('empty', desc);
  }

  borrow<D extends DType>(handle: unknown, desc: TensorDesc<D>): Tensor<D> {
    this.#alive();
    checkDType('borrow', desc);
    checkedElementCount(desc, 'borrow');
    const bytes = bytesOf(desc);
    const storage: Storage = {
      handle: this.#driver.adopt(handle, desc),
      bytes,
      borrowed: true,
      source: sourceOf(handle, bytes),
      disposed: false,
    };
    return new Tensor(this, desc, storage, () => {
      storage.disposed = true;
    });
  }

  async pack(source: WeightSource, { dtype = 'f32', signal, onProgress }: PackOptions = {}): Promise<Weight> {
    this.#alive();
    signal?.throwIfAborted();
    checkWeightDType(this, 'pack', dtype);
    const matrices = (typeof source === 'object' && source !== null ? matricesOf(source) : [source]).map(readerOf);
    const [N, K] = matrices[0]!.shape;
    for (const { shape } of matrices) {
      if (shape[0] !== N || shape[1] !== K) throw invalidArgument('pack', 'up', `[${shape}]`, `the shape of gate, [${N},${K}]`);
    }
    let done = 0;
    const pause = async (rows: number) => {
      done += rows;
      await yieldToOthers();
      signal?.throwIfAborted();
      this.#alive();
      onProgress?.(done / (N * matrices.length));
    };
    const { handle, bytes } = await this.#driver.pack(matrices, dtype, pause);
    onProgress?.(1);
    this.#weightBytes += bytes;
    return new Weight(this, { dtype, shape: [N, K], parts: matrices.length as 1 | 2, bytes }, handle, () => {
      this.#weightBytes -= bytes;
      this.#driver.freeWeight(handle);
    });
  }

  run<O extends Op>(op: O, io: IoOf<O>, attrs: AttrsOf<O>): void {
    this.#alive();
    const operands = io as Readonly<Record<string, Tensor | Weight | undefined>>;
    const dims = checkOperands(this, op, operands, attrs);
    // what an op writes is no longer what was uploaded
    for (const { name, isWritten } of listsOf(op.io).operands) {
      const value = operands[name];
      if (isWritten && value) (value as Tensor).storage.host = undefined;
    }
    if (this.#sinks.size === 0) {
      this.#driver.run(op, operands, dims, attrs);
      return;
    }
    const cost = op.cost(dims, attrs, io);
    const onDevice = [...this.#sinks].filter(({ gpu }) => gpu);
    const event: TraceEvent = { op: op.name, dims, ...cost, milliseconds: 0 };
    const onTime = (gpuMilliseconds: number) => {
      for (const { sink } of onDevice) sink({ ...event, gpuMilliseconds });
    };
    const start = performance.now();
    this.#driver.run(op, operands, dims, attrs, onDevice.length ? onTime : undefined);
    event.milliseconds = performance.now() - start;
    for (const { sink, gpu } of this.#sinks) if (!gpu) sink(event);
  }

  async read<D extends DType>(tensor: Tensor<D>, options: SignalOption = {}): Promise<ArrayOf<D>> {
    this.#alive();
    options.signal?.throwIfAborted();
    if (!(tensor instanceof Tensor)) throw invalidArgument('read', 'tensor', Object.prototype.toString.call(tensor), 'a Tensor');
    checkHeld(this, 'read', 'tensor', tensor);
    const buffer = await withAbort(this.#whileAlive(this.#driver.read(tensor.storage.handle, tensor.bytes)), options.signal);
    this.#alive();
    return new ARRAYS[tensor.dtype](buffer) as ArrayOf<D>;
  }

  async flush(options: SignalOption = {}): Promise<void> {
    this.#alive();
    options.signal?.throwIfAborted();
    await withAbort(this.#whileAlive(this.#driver.flush()), options.signal);
    this.#alive();
  }

  async pause({ signal }: SignalOption = {}): Promise<void> {
    this.#alive();
    signal?.throwIfAborted();
    if (this.#driver.prepare) await withAbort(this.#whileAlive(this.#driver.prepare()), signal);
    await yieldToOthers();
    signal?.throwIfAborted();
    this.#alive();
  }

  memory(): MemoryInfo {
    return { tensors: this.#tensorBytes, weights: this.#weightBytes, reserved: this.#driver.reserved() };
  }

  trace(sink: (event: TraceEvent) => void, { gpu = false }: TraceOptions = {}): Disposable {
    if (gpu && !this.features.has('timestamp-query')) {
      const message = `trace: this ${this.name} backend (${this.description}) has no timestamps of the device`;
      throw new SkipVisionError('unsupported', message, { op: 'trace', argument: 'gpu' });
    }
    const entry = { sink, gpu };
    this.#sinks.add(entry);
    return {
      [Symbol.dispose]: () => {
        this.#sinks.delete(entry);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#driver.dispose();
  }

  #make<D extends DType>(op: string, desc: TensorDesc<D>, host?: Uint32Array): Tensor<D> {
    checkedElementCount(desc, op);
    const bytes = bytesOf(desc);
    if (bytes > this.limits.maxBufferBytes) {
      throw new SkipVisionError(
        'out-of-memory',
        `a tensor [${desc.shape}] needs ${bytes} bytes, this ${this.name} backend takes at most ${this.limits.maxBufferBytes}`,
        {
          op,
          argument: 'shape',
          got: `${bytes} bytes`,
          expected: `at most ${this.limits.maxBufferBytes} bytes`,
        },
      );
    }
    const storage: Storage = { handle: this.#driver.allocate(bytes), bytes, borrowed: false, host, disposed: false };
    this.#tensorBytes += bytes;
    return new Tensor(this, desc, storage, () => {
      storage.disposed = true;
      this.#tensorBytes -= bytes;
      this.#driver.free(storage.handle);
    });
  }

  /** A disposal is told as such, not as what it did to work under way. */
  async #whileAlive<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (this.#disposed) this.#alive();
      throw error;
    }
  }

  #alive(): void {
    if (this.#disposed) throw new SkipVisionError('disposed', `this ${this.name} backend was disposed`);
    if (this.#lost) throw this.#lost;
  }
}

function checkDType(op: string, { dtype }: TensorDesc): void {
  if (!DTYPES.includes(dtype)) throw invalidArgument(op, 'dtype', `"${dtype}"`, DTYPES.join(', '));
}

/** Where borrowed memory lies: in what backs a typed array, at an address of a linear memory, or in a GPUBuffer. */
function sourceOf(handle: unknown, bytes: number): Storage['source'] {
  if (ArrayBuffer.isView(handle)) return { memory: handle.buffer, start: handle.byteOffset, end: handle.byteOffset + bytes };
  const { memory = handle, pointer = 0 } = handle as { memory?: unknown; pointer?: number };
  return { memory, start: pointer, end: pointer + bytes };
}

/** Rejects with the signal's reason as soon as it aborts; the work itself goes on and is dropped. */
async function withAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  signal.throwIfAborted();
  let abort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
    work.catch(() => {});
  }
}
