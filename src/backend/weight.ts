import type { Backend } from './backend.ts';

/** A matrix as it stands in a checkpoint: row-major [N, K], one row per output. */
export interface Matrix {
  data: Float32Array;
  shape: readonly [N: number, K: number];
}

/**
 * What `pack` takes: one matrix, or the gate and up matrices of a gated FFN. The pair is interleaved, so that one
 * kernel owns gate and up of the same channel and can apply `act(gate) * up` in registers.
 */
export type WeightSource = Matrix | { gate: Matrix; up: Matrix };

export type WeightDType = 'f32';

/** A matrix packed once into the layout its backend wants. Opaque; freed by `dispose`. */
export class Weight {
  readonly backend: Backend;
  readonly dtype: WeightDType;
  /** Outputs N of each part, inputs K. */
  readonly shape: readonly [N: number, K: number];
  /** 2 for a gate and up pair, else 1. */
  readonly parts: 1 | 2;
  /** Bytes held by the packed form, padding included. */
  readonly bytes: number;
  readonly handle: unknown;
  disposed = false;
  readonly #release: () => void;

  /** Use a backend's `pack`. */
  constructor(
    backend: Backend,
    desc: { dtype: WeightDType; shape: readonly [number, number]; parts: 1 | 2; bytes: number },
    handle: unknown,
    release: () => void,
  ) {
    this.backend = backend;
    this.dtype = desc.dtype;
    this.shape = desc.shape;
    this.parts = desc.parts;
    this.bytes = desc.bytes;
    this.handle = handle;
    this.#release = release;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The matrices of a source in packing order: [matrix] or [gate, up]. */
export function matricesOf(source: WeightSource): readonly Matrix[] {
  return 'data' in source ? [source] : [source.gate, source.up];
}
