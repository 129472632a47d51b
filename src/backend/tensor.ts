import { invalidArgument, show } from './errors.ts';
import type { Owner } from './features.ts';
import * as field from './fields.ts';

/** 'f16' is for storage: some operands may have it, sums are f32. Its last extent is even, as GPUs address 32 bits. */
export type DType = 'f32' | 'f16' | 'u32';
/** What keys and values are stored as. */
export type FloatDType = 'f32' | 'f16';
export type TypedArray = Float32Array<ArrayBufferLike> | Uint16Array<ArrayBufferLike> | Uint32Array<ArrayBufferLike>;
/** The array of each dtype; numbers of f16 are their bits. */
export type ArrayOf<D extends DType> = {
  f32: Float32Array<ArrayBuffer>;
  f16: Uint16Array<ArrayBuffer>;
  u32: Uint32Array<ArrayBuffer>;
}[D];
export const ARRAYS = { f32: Float32Array, f16: Uint16Array, u32: Uint32Array } as const;

const INDEX = field.integer({ min: 0 });
const EXTENTS = field.list(INDEX);

export interface TensorDesc<D extends DType = DType> {
  dtype: D;
  shape: readonly number[];
}

/** Backend memory behind one tensor and its views. `handle` means something to the backend's driver only. */
export interface Storage {
  readonly handle: unknown;
  /** Of borrowed memory, which is never freed by us: bytes [start, end) of the caller's. */
  readonly source?: { readonly memory: unknown; readonly start: number; readonly end: number };
  /** Copy of uploaded u32 data, so that row lists can be checked without reading them back. Gone once an op wrote the memory. */
  host: Uint32Array | undefined;
  /** What is known of the u32 in a part of the memory. Gone once an op wrote the memory. */
  known: KnownList | undefined;
  disposed: boolean;
}

/** What a scan of the host's copy found, so that it is done once and not at every run; or what the op promises that wrote it. */
export interface KnownList {
  /** Elements [start, end) of the memory. */
  readonly start: number;
  readonly end: number;
  /** Whether they are known to ascend strictly. */
  readonly ascending: boolean;
  /** All are below. */
  readonly below: number;
}

/** The memory behind a tensor: for checks and drivers. No entry of the package exports it. */
export let storageOf: (tensor: Tensor) => Storage;
/** The first element of a tensor in its storage: 0 but in views. */
export let offsetOf: (tensor: Tensor) => number;

export function byteOffsetOf(tensor: Tensor): number {
  const offset = offsetOf(tensor);
  return offset && offset * ARRAYS[tensor.dtype].BYTES_PER_ELEMENT;
}

/** The entries of a list where the host knows them, as it uploaded them and no op wrote them: for the cost of an op. Not to be changed. */
export function hostList(tensor: Tensor<'u32'>): Uint32Array | undefined {
  const offset = offsetOf(tensor);
  return storageOf(tensor).host?.subarray(offset, offset + tensor.size);
}

/** A contiguous, row-major array that belongs to one backend. Made by `upload`, `empty` or `borrow`; freed by `dispose`. */
export class Tensor<D extends DType = DType> {
  readonly backend: Owner;
  readonly dtype: D;
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  readonly #storage: Storage;
  readonly #offset: number;
  readonly #release: (() => void) | undefined;

  static {
    storageOf = (tensor) => tensor.#storage;
    offsetOf = (tensor) => tensor.#offset;
  }

  /** Use a backend's `upload`, `empty` or `borrow`. `release` is absent in views. @internal */
  constructor(backend: Owner, desc: TensorDesc<D>, storage: Storage, offset = 0, release?: () => void) {
    this.backend = backend;
    this.dtype = desc.dtype;
    this.shape = Object.freeze([...desc.shape]);
    this.size = elementCount(desc.shape);
    this.#storage = storage;
    this.#offset = offset;
    this.#release = release;
  }

  get bytes(): number {
    return bytesOf(this);
  }

  get disposed(): boolean {
    return this.#storage.disposed;
  }

  /**
   * A part of the same memory: `offset` elements in, under another shape. The view dies with its owner. Of f16 the offset is even. On webgpu
   * an op copies an operand that does not start at a multiple of the device's `minStorageBufferOffsetAlignment` (up to 256 bytes)
   * to where it may be bound, and back.
   */
  view(shape: readonly number[], offset = 0): Tensor<D> {
    const size = checkedElementCount({ dtype: this.dtype, shape }, 'view');
    if (size > this.size) throw invalidArgument('view', 'shape', `[${shape}] of ${size} elements`, `at most ${this.size} elements`);
    const most = this.size - size;
    if (!INDEX.accepts(offset) || offset > most) throw invalidArgument('view', 'offset', show(offset), `an integer from 0 to ${most}`);
    return this.#part('view', shape, offset);
  }

  /** Rows [start, end) of the first axis, as a view. */
  slice(start: number, end: number): Tensor<D> {
    const { shape } = this;
    const rows = shape[0];
    if (rows === undefined) throw invalidArgument('slice', 'tensor', 'of no axis', 'a tensor of rows');
    if (!INDEX.accepts(start) || start > rows) throw invalidArgument('slice', 'start', show(start), `an integer from 0 to ${rows}`);
    if (!INDEX.accepts(end) || end < start || end > rows)
      throw invalidArgument('slice', 'end', show(end), `an integer from ${start} to ${rows}`);
    const part = shape.map((extent, axis) => (axis ? extent : end - start)); // `slice` and `with` of a frozen array take five times as long
    if (this.dtype === 'f16') checkedElementCount({ dtype: 'f16', shape: part }, 'slice');
    return this.#part('slice', part, start * (this.size / Math.max(1, rows)));
  }

  #part(op: string, shape: readonly number[], offset: number): Tensor<D> {
    if (this.dtype === 'f16' && offset % 2 === 1) throw invalidArgument(op, 'offset', `${offset} in f16`, 'an even one');
    return new Tensor(this.backend, { dtype: this.dtype, shape }, this.#storage, this.#offset + offset);
  }

  /** Frees the memory unless it was borrowed. Views free nothing. Twice is harmless. */
  dispose(): void {
    if (this.#storage.disposed || !this.#release) return;
    this.#storage.disposed = true;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function bytesOf({ dtype, shape }: TensorDesc): number {
  return elementCount(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** The elements of a shape; refuses extents that are not non-negative integers, and f16 of an odd last extent. */
export function checkedElementCount({ dtype, shape }: TensorDesc, op: string): number {
  const size = EXTENTS.accepts(shape) ? elementCount(shape) : Number.NaN;
  if (!Number.isSafeInteger(size)) throw invalidArgument(op, 'shape', show(shape), 'a list of non-negative integers');
  if (dtype === 'f16' && (shape.at(-1) ?? 1) % 2 === 1) throw invalidArgument(op, 'shape', `f16 [${shape}]`, 'an even last extent');
  return size;
}
