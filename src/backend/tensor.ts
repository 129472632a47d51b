import type { Backend } from './backend.ts';
import { invalidArgument, SkipVisionError } from './errors.ts';

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

export interface TensorDesc<D extends DType = DType> {
  dtype: D;
  shape: readonly number[];
}

/** Backend memory behind one tensor and its views. `handle` means something to the backend's driver only. */
export interface Storage {
  readonly handle: unknown;
  readonly bytes: number;
  /** Borrowed memory belongs to the caller: never freed by us. */
  readonly borrowed: boolean;
  /** Bytes [start, end) of the caller's memory that is borrowed. */
  readonly source?: { readonly memory: unknown; readonly start: number; readonly end: number };
  /** Copy of uploaded u32 data, so that row lists can be checked without reading them back. Gone once an op wrote the memory. */
  host?: Uint32Array;
  /** What a scan of the first `size` entries of `host` found, so that it is done once and not at every run. */
  scanned?: { readonly size: number; readonly ascending: boolean; readonly most: number };
  disposed: boolean;
}

/** A contiguous, row-major array that belongs to one backend. Made by `upload`, `empty` or `borrow`; freed by `dispose`. */
export class Tensor<D extends DType = DType> {
  readonly backend: Backend;
  readonly dtype: D;
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  readonly storage: Storage;
  readonly #release: (() => void) | undefined;

  /** Use a backend's `upload`, `empty` or `borrow`. `release` is absent in views. */
  constructor(backend: Backend, desc: TensorDesc<D>, storage: Storage, release?: () => void) {
    this.backend = backend;
    this.dtype = desc.dtype;
    this.shape = Object.freeze([...desc.shape]);
    this.size = elementCount(desc.shape);
    this.storage = storage;
    this.#release = release;
  }

  get bytes(): number {
    return bytesOf(this);
  }

  get disposed(): boolean {
    return this.storage.disposed;
  }

  /** The same memory under another shape of the same or a smaller size (a prefix). The view dies with its owner. */
  view(shape: readonly number[]): Tensor<D> {
    const size = checkedElementCount({ dtype: this.dtype, shape }, 'view');
    if (size > this.size) {
      throw new SkipVisionError('invalid-argument', `view: shape [${shape}] has ${size} elements, the tensor ${this.size}`, {
        op: 'view',
        argument: 'shape',
        got: `[${shape}]`,
        expected: `at most ${this.size} elements`,
      });
    }
    return new Tensor(this.backend, { dtype: this.dtype, shape }, this.storage);
  }

  /** Frees the memory unless it was borrowed. Views free nothing. Twice is harmless. */
  dispose(): void {
    if (this.storage.disposed || !this.#release) return;
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
  const size = Array.isArray(shape) ? elementCount(shape) : Number.NaN;
  if (!Array.isArray(shape) || !shape.every((extent) => Number.isInteger(extent) && extent >= 0) || !Number.isSafeInteger(size))
    throw invalidArgument(op, 'shape', `[${shape}]`, 'a list of non-negative integers');
  if (dtype === 'f16' && (shape.at(-1) ?? 1) % 2 === 1) throw invalidArgument(op, 'shape', `f16 [${shape}]`, 'an even last extent');
  return size;
}
