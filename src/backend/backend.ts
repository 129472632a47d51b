/**
 * The seam. Everything above it (ops, model, methods) sees `Backend` only; everything below it is a `Driver`.
 *
 * What a backend promises:
 * 1. Run order is execution order. A read sees every run before it.
 * 2. Every check (shape, dtype, row lists in range and increasing, disposed, wrong backend) happens once, here, before
 *    anything is enqueued or changed, and throws a coded error that names op, argument, got and expected. Drivers
 *    never see bad input, so they cannot disagree about it.
 * 3. What we made we free; what we borrowed we never free.
 * 4. A lost device or exhausted memory is a coded error at the next call; no partial result is returned as good.
 * 5. Nothing is written to the console, and nothing falls back silently.
 * 6. `flush` and `pause` give the caller's thread back once and honour their signal: long work calls one between layers.
 */
import * as field from './fields.ts';
import type { BackendName, Feature } from './features.ts';
import type { AttrsOf, IoOf } from './op.ts';
import type { Op } from './bound-op.ts';
import type { ArrayOf, DType, Tensor, TensorDesc, TypedArray } from './tensor.ts';
import type { PackOptions, Weight, WeightDType, WeightSource } from './weight.ts';
import type { MatrixReader } from './quantize.ts';

export interface Limits {
  /** Largest tensor or packed weight, in bytes. */
  maxBufferBytes: number;
}

export interface Rejection {
  name: BackendName;
  reason: string;
}

export interface LossInfo {
  reason: 'destroyed' | 'unknown';
  message: string;
}

/** Bytes in use and held. `tensors` and `weights` return to where they were when everything made was disposed. */
export interface MemoryInfo {
  /** Bytes of live tensors, borrowed ones excluded. */
  tensors: number;
  /** Bytes of live packed weights. */
  weights: number;
  /** Bytes held from the system: linear memory, GPU buffers (pooled ones included) or JS arrays. */
  reserved: number;
}

/** One op that ran. `milliseconds` is the time the call took: the work itself, or on WebGPU the time to record it. */
export interface TraceEvent {
  op: string;
  dims: Readonly<Record<string, number>>;
  flops: number;
  bytes: number;
  milliseconds: number;
  /** Time on the device, where `trace` was asked for it. */
  gpuMilliseconds?: number;
}

export interface TraceOptions {
  /**
   * Time ops on the device: each gets a pass of its own, and is reported when the device is done with it. Needs the feature
   * 'timestamp-query', else 'unsupported' is thrown. Browsers round the times.
   */
  gpu?: boolean;
}

export interface SignalOption {
  signal?: AbortSignal;
}

export interface Backend extends AsyncDisposable {
  readonly name: BackendName;
  /** One line about what does the work: Wasm variant, GPU adapter. */
  readonly description: string;
  readonly features: ReadonlySet<Feature>;
  readonly limits: Limits;
  /** What `pack` can make here. */
  readonly dtypes: readonly WeightDType[];
  /** Backends that were tried before this one, and why each was not taken. */
  readonly rejected: readonly Rejection[];
  /** Settles once when the device is lost or the backend disposed; never rejects. */
  readonly lost: Promise<LossInfo>;

  /** Copies `data` into a new tensor. Shape defaults to [data.length]. A Uint16Array holds the bits of f16. */
  upload(data: Float32Array, shape?: readonly number[]): Tensor<'f32'>;
  upload(data: Uint32Array, shape?: readonly number[]): Tensor<'u32'>;
  upload(data: Uint16Array, shape?: readonly number[]): Tensor<'f16'>;
  /** A new tensor with undefined contents. */
  empty<D extends DType>(desc: TensorDesc<D>): Tensor<D>;
  /** Wraps memory of the caller without a copy: a typed array, a `{ pointer }`, a GPUBuffer. Never freed by us. */
  borrow<D extends DType>(handle: unknown, desc: TensorDesc<D>): Tensor<D>;
  /** Packs a matrix once, at load, slice by slice; the thread is given back in between. */
  pack(source: WeightSource, options?: PackOptions): Promise<Weight>;
  /**
   * Checks the operands and enqueues the op. Returns the extents of its dims, which its `cost` takes.
   * @throws `unsupported` for an op without a binding for this backend.
   */
  run<O extends Op>(op: O, io: IoOf<O>, attrs: AttrsOf<O>): Readonly<Record<string, number>>;
  /** Waits for all that was enqueued before it and copies the tensor out. */
  read<D extends DType>(tensor: Tensor<D>, options?: SignalOption): Promise<ArrayOf<D>>;
  /**
   * Hands enqueued work to the device and lets other tasks of this thread run once. Does not wait for the work. On a GPU the kernels
   * that the work is the first to need are compiled before, all at once and beside other tasks; so they are in a pause.
   */
  flush(options?: SignalOption): Promise<void>;
  /** Lets other tasks of this thread run once. Unlike `flush` it may keep enqueued work back, to hand it over with more. */
  pause(options?: SignalOption): Promise<void>;
  memory(): MemoryInfo;
  /** Reports every op run until disposed. A sink that throws is told no more; the next read, flush or pause throws its error. */
  trace(sink: (event: TraceEvent) => void, options?: TraceOptions): Disposable;
}

const REJECTION = field.record<Rejection>({ name: field.oneOf('reference', 'wasm', 'webgpu'), reason: field.text });
/** What `selectBackend` hands to the backend it takes. */
export const REJECTED_OPTION = { rejected: field.optional(field.list(REJECTION)) };
export const SIGNAL_OPTION: field.Fields<SignalOption> = { signal: field.optional(field.signal) };
/** By structure, as a caller may wrap one. */
export const BACKEND: field.Required<Backend> = field.anything(
  'a Backend, e.g. of selectBackend',
  (value) => typeof (value as Partial<Backend> | null)?.run === 'function',
);

/** Operands of an op by name; `undefined` where an optional one is absent. */
export type Operands = Readonly<Record<string, Tensor | Weight | undefined>>;

/** Called between slices of long work with the rows that were done since the last call. */
export type Pause = (rows: number) => Promise<void>;

/**
 * What stands behind a backend: memory and the execution of ops whose operands were checked. `handle` is the driver's
 * own; `io` values are what its op bindings take (see op.ts).
 */
export interface Driver extends Pick<Backend, 'name' | 'description' | 'features' | 'limits' | 'dtypes' | 'lost'> {
  allocate(bytes: number): unknown;
  free(handle: unknown): void;
  write(handle: unknown, data: TypedArray): void;
  /** Checks and adopts memory of the caller. */
  adopt(handle: unknown, desc: TensorDesc): unknown;
  /** One matrix, or gate and up, of one shape. `pause` gives the thread back, tells how much is done, and throws on an abort. */
  pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: unknown; bytes: number }>;
  freeWeight(handle: unknown): void;
  /** `onTime` only with the feature 'timestamp-query'. */
  run(op: Op, operands: Operands, dims: Readonly<Record<string, number>>, attrs: object, onTime?: (milliseconds: number) => void): void;
  /** A multiple of four bytes, from one on. */
  read(handle: unknown, byteOffset: number, bytes: number): Promise<ArrayBuffer>;
  flush(): Promise<void>;
  /** Compiles what enqueued work needs, beside other work. Awaited in every pause. */
  prepare?(): Promise<void>;
  /** Bytes held from the system. */
  reserved(): number;
  dispose(): Promise<void>;
}
