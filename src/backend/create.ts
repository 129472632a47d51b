/** Makes a Backend of a Driver: checks, ownership, accounting and tracing, once for all backends. */
import type { Backend, Driver, MemoryInfo, Operands, Rejection, SignalOption, TraceEvent, TraceOptions } from './backend.ts';
import { SIGNAL_OPTION } from './backend.ts';
import type { Op } from './bound-op.ts';
import { checkHeld, checkOperands, forgetWritten, keepPromises } from './check.ts';
import { invalidArgument, show, SkipVisionError } from './errors.ts';
import type { BackendName } from './features.ts';
import * as field from './fields.ts';
import { type AttrsOf, type Io, type IoOf, listsOf, type Signature } from './op.ts';
import {
  type ArrayOf,
  ARRAYS,
  byteOffsetOf,
  bytesOf,
  checkedElementCount,
  type DType,
  type Storage,
  storageOf,
  Tensor,
  type TensorDesc,
  type TypedArray,
} from './tensor.ts';
import { checkWeightDType, type PackOptions, Weight, type WeightDType, type WeightSource } from './weight.ts';
import { readerOf } from './weight-source.ts';
import { yieldToOthers } from './yield.ts';

const DTYPES = Object.keys(ARRAYS) as readonly DType[];

/** Which dtypes there are depends on the backend. */
export const PACK_OPTIONS: field.Fields<PackOptions> = {
  ...SIGNAL_OPTION,
  dtype: field.optional(field.anything<WeightDType>('a dtype')),
  onProgress: field.optional(field.callback<NonNullable<PackOptions['onProgress']>>()),
};
const SINK = field.callback<(event: TraceEvent) => void>();
export const TRACE_OPTIONS: field.Fields<TraceOptions> = { gpu: field.optional(field.boolean) };

export function createBackend(driver: Driver, rejected: readonly Rejection[] = []): Backend {
  return new CheckedBackend(driver, rejected);
}

interface Sink {
  sink(event: TraceEvent): void;
  gpu: boolean;
  failed: boolean;
}

class CheckedBackend implements Backend {
  readonly #driver: Driver;
  readonly rejected: readonly Rejection[];
  readonly #sinks = new Set<Sink>();
  readonly #sinkErrors: unknown[] = [];
  #tensorBytes = 0;
  #weightBytes = 0;
  #disposed = false;
  #lost: SkipVisionError | undefined;

  constructor(driver: Driver, rejected: readonly Rejection[]) {
    this.#driver = driver;
    this.rejected = rejected;
    void driver.lost.then((info) => {
      const message = `the ${driver.name} device was lost (${info.reason}): ${info.message}. Make a new backend and upload again.`;
      this.#lost = new SkipVisionError('device-lost', message);
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
  upload(data: TypedArray, shape?: readonly number[]): Tensor {
    this.#alive();
    const dtype = DTYPES.find((each) => data instanceof ARRAYS[each]);
    if (!dtype) throw invalidArgument('upload', 'data', show(data), 'a Float32Array, Uint32Array or Uint16Array');
    const desc = { dtype, shape: shape === undefined ? [data.length] : shape };
    if (checkedElementCount(desc, 'upload') !== data.length) {
      throw invalidArgument('upload', 'shape', `[${shape}] for ${data.length} elements`, 'a shape with as many elements as data');
    }
    const tensor = this.#make('upload', desc, data instanceof Uint32Array ? data.slice() : undefined);
    return disposedIfThrown(tensor, () => this.#driver.write(storageOf(tensor).handle, data));
  }

  empty<D extends DType>(desc: TensorDesc<D>): Tensor<D> {
    this.#alive();
    checkDesc('empty', desc);
    return this.#make('empty', desc);
  }

  borrow<D extends DType>(handle: unknown, desc: TensorDesc<D>): Tensor<D> {
    this.#alive();
    checkDesc('borrow', desc);
    const storage = storageWith(this.#driver.adopt(handle, desc), sourceOf(handle, bytesOf(desc)));
    return new Tensor(this, desc, storage, 0, () => {}); // what we borrowed we never free
  }

  async pack(source: WeightSource, options: PackOptions = {}): Promise<Weight> {
    this.#alive();
    field.checkFields('pack', options, PACK_OPTIONS);
    const { dtype = 'f32', signal, onProgress } = options;
    signal?.throwIfAborted();
    checkWeightDType(this, 'pack', dtype);
    const isPair = typeof source === 'object' && source !== null && 'gate' in source;
    const matrices = await Promise.all((isPair ? [source.gate, source.up] : [source]).map(readerOf));
    this.#alive();
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
      this.#alive(); // it may dispose the backend
    };
    const { handle, bytes } = await this.#driver.pack(matrices, dtype, pause);
    this.#weightBytes += bytes;
    const weight = new Weight(this, { dtype, shape: [N, K], parts: matrices.length as 1 | 2, bytes }, handle, () => {
      this.#weightBytes -= bytes;
      this.#driver.freeWeight(handle);
    });
    return disposedIfThrown(weight, () => onProgress?.(1));
  }

  run<O extends Op>(op: O, io: IoOf<O>, attrs: AttrsOf<O>): Readonly<Record<string, number>> {
    this.#alive();
    const definition = op?.definition;
    if (!definition?.io) throw invalidArgument('run', 'op', show(op), 'an op of skip-vision/ops');
    if (!op[this.#driver.name]) throw noBinding(definition.name, this.#driver.name);
    const operands = io as Operands;
    const lists = listsOf(definition.io);
    const dims = checkOperands(this, definition, lists, operands, attrs);
    forgetWritten(lists, operands);
    if (this.#sinks.size === 0) this.#driver.run(op, operands, dims, attrs);
    else this.#runTraced(op, operands, dims, attrs);
    keepPromises(lists, operands, dims);
    return dims;
  }

  #runTraced(op: Op, operands: Operands, dims: Readonly<Record<string, number>>, attrs: object): void {
    const { definition } = op;
    const cost = definition.cost(dims, attrs, operands as Io<Signature>);
    const event: TraceEvent = { op: definition.name, dims, ...cost, milliseconds: 0 };
    const onDevice = [...this.#sinks].filter(({ gpu }) => gpu);
    const onTime = (gpuMilliseconds: number) => {
      for (const entry of onDevice) this.#tell(entry, { ...event, gpuMilliseconds });
    };
    const start = performance.now();
    this.#driver.run(op, operands, dims, attrs, onDevice.length ? onTime : undefined);
    event.milliseconds = performance.now() - start;
    for (const entry of this.#sinks) if (!entry.gpu) this.#tell(entry, event);
  }

  /** A sink that throws is told no more. The op has run, so the error is thrown by the next call that is awaited, not by `run`. */
  #tell(entry: Sink, event: TraceEvent): void {
    if (entry.failed) return; // times of the device arrive after `run`
    try {
      entry.sink(event);
    } catch (error) {
      entry.failed = true;
      this.#sinks.delete(entry);
      this.#sinkErrors.push(error);
    }
  }

  /** What every call that is awaited begins with. */
  #start(op: string, options: SignalOption): void {
    this.#alive();
    field.checkFields(op, options, SIGNAL_OPTION);
    options.signal?.throwIfAborted();
    if (this.#sinkErrors.length) throw this.#sinkErrors.shift();
  }

  async read<D extends DType>(tensor: Tensor<D>, options: SignalOption = {}): Promise<ArrayOf<D>> {
    this.#start('read', options);
    if (!(tensor instanceof Tensor)) throw invalidArgument('read', 'tensor', show(tensor), 'a Tensor');
    checkHeld(this, 'read', 'tensor', tensor);
    const buffer = await this.#finish(this.#driver.read(storageOf(tensor).handle, byteOffsetOf(tensor), tensor.bytes), options);
    return new ARRAYS[tensor.dtype](buffer) as ArrayOf<D>;
  }

  async flush(options: SignalOption = {}): Promise<void> {
    this.#start('flush', options);
    await this.#finish(this.#driver.flush(), options);
  }

  async pause(options: SignalOption = {}): Promise<void> {
    this.#start('pause', options);
    if (this.#driver.prepare) await this.#finish(this.#driver.prepare(), options);
    await yieldToOthers();
    options.signal?.throwIfAborted();
    this.#alive();
  }

  memory(): MemoryInfo {
    return { tensors: this.#tensorBytes, weights: this.#weightBytes, reserved: this.#driver.reserved() };
  }

  trace(sink: (event: TraceEvent) => void, options: TraceOptions = {}): Disposable {
    this.#alive();
    field.checkFields('trace', { sink }, { sink: SINK });
    field.checkFields('trace', options, TRACE_OPTIONS);
    const { gpu = false } = options;
    if (gpu && !this.features.has('timestamp-query')) {
      const message = `trace: this ${this.name} backend (${this.description}) has no timestamps of the device`;
      throw new SkipVisionError('unsupported', message, { op: 'trace', argument: 'gpu' });
    }
    const entry = { sink, gpu, failed: false };
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
    const bytes = bytesOf(desc);
    const most = this.limits.maxBufferBytes;
    if (bytes > most) {
      const message = `a tensor [${desc.shape}] needs ${bytes} bytes, this ${this.name} backend takes at most ${most}`;
      const details = { op, argument: 'shape', got: `${bytes} bytes`, expected: `at most ${most} bytes` };
      throw new SkipVisionError('out-of-memory', message, details);
    }
    const handle = this.#driver.allocate(bytes);
    this.#tensorBytes += bytes;
    return new Tensor(this, desc, storageWith(handle, undefined, host), 0, () => {
      this.#tensorBytes -= bytes;
      this.#driver.free(handle);
    });
  }

  /** Waits for work or an abort. Work that a disposal of the backend interrupts rejects with 'disposed', not with what the driver makes of it. */
  async #finish<T>(work: Promise<T>, { signal }: SignalOption): Promise<T> {
    const whileAlive = work.catch((error: unknown) => {
      if (this.#disposed) this.#alive();
      throw error;
    });
    const result = await withAbort(whileAlive, signal);
    this.#alive();
    return result;
  }

  #alive(): void {
    if (this.#disposed) throw new SkipVisionError('disposed', `this ${this.name} backend was disposed`);
    if (this.#lost) throw this.#lost;
  }
}

/** Returns `made` after a last step, and frees it if that fails: the caller does not own it yet. */
function disposedIfThrown<T extends Disposable>(made: T, finish: () => void): T {
  try {
    finish();
    return made;
  } catch (error) {
    made[Symbol.dispose]();
    throw error;
  }
}

function noBinding(op: string, backend: BackendName): SkipVisionError {
  const entry = backend === 'reference' ? 'skip-vision/ops' : `skip-vision/ops or skip-vision/ops/${backend}`;
  return invalidArgument(op, 'op', `without a ${backend} binding`, `the op of ${entry}`, 'unsupported');
}

function checkDesc(op: string, desc: TensorDesc): void {
  if (typeof desc !== 'object' || desc === null) throw invalidArgument(op, 'desc', show(desc), 'an object { dtype, shape }');
  if (!DTYPES.includes(desc.dtype)) throw invalidArgument(op, 'dtype', show(desc.dtype), DTYPES.join(', '));
  checkedElementCount(desc, op);
}

/** With all properties in one order, whichever are there: engines take objects for one another then, and every op looks into some. */
function storageWith(handle: unknown, source?: Storage['source'], host?: Uint32Array): Storage {
  return { handle, source, host, known: undefined, disposed: false };
}

/** Where borrowed memory lies: in what backs a typed array, at an address of a linear memory, or in a GPUBuffer. */
function sourceOf(handle: unknown, bytes: number): Storage['source'] {
  if (ArrayBuffer.isView(handle)) return { memory: handle.buffer, start: handle.byteOffset, end: handle.byteOffset + bytes };
  const { memory = handle, pointer = 0 } = handle as { memory?: unknown; pointer?: number };
  return { memory, start: pointer, end: pointer + bytes };
}

/** Rejects with the signal's reason as soon as it aborts; the work itself goes on and is dropped. */
function withAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
