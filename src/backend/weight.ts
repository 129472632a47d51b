import { show, SkipVisionError } from './errors.ts';
import type { Owner } from './features.ts';

/** A matrix as it stands in a checkpoint: row-major [N, K], one row per output. */
export interface Matrix {
  format?: 'f32';
  data: Float32Array;
  shape: readonly [N: number, K: number];
}

/** GGUF blocks of 32 weights: Q4_0 is 18 bytes, an f16 scale and 32 nibbles; Q8_0 is 34, an f16 scale and 32 int8. */
export interface GgufMatrix {
  format: 'q4_0' | 'q8_0';
  data: Uint8Array;
  shape: readonly [N: number, K: number];
}

/** ONNX com.microsoft.MatMulNBits with 4 bits and blocks of 32. */
export interface NbitsMatrix {
  format: 'matmul_nbits';
  /** B [N, K / 32, 16]. */
  data: Uint8Array;
  /** [N, K / 32]. dtype 'q4' rounds them to f16. */
  scales: Float32Array;
  /** [N, ceil(K / 64)], two to a byte; 8 without. */
  zeroPoints?: Uint8Array;
  shape: readonly [N: number, K: number];
}

/**
 * A matrix that is quantized already, in blocks of 32 along K (a multiple of 32), as the file has it. With dtype 'q4' the
 * codes of the 4-bit formats are kept as they are; any other pair of format and dtype goes through floats.
 */
export type BlockMatrix = GgufMatrix | NbitsMatrix;

export type SourceMatrix = Matrix | BlockMatrix;

/**
 * What `pack` takes: one matrix, or the gate and up matrices of a gated FFN. The pair is interleaved, so that one
 * kernel owns gate and up of the same channel and can apply `act(gate) * up` in registers.
 */
export type WeightSource = SourceMatrix | { gate: SourceMatrix; up: SourceMatrix };

/**
 * How a weight is stored; sums are f32 for all. 'f16': nearest even. 'q8': int8, one scale to an output. 'q4': 4 bits, one
 * f16 scale to 32 inputs, K padded to whole blocks. With 'q8' and 'q4' the other operand is quantized on the fly as well: on
 * wasm to int8 with a scale to a row (q8) or to 32 columns of a row (q4), and its relaxed SIMD form keeps 7 bits of a q8
 * weight; on webgpu, with the feature 'integer-dot-product' and from 9 rows on, to int8 with a scale to 32 columns of a row.
 * See quantize.ts.
 */
export type WeightDType = 'f32' | 'f16' | 'q8' | 'q4';
export const WEIGHT_DTYPES: readonly WeightDType[] = ['f32', 'f16', 'q8', 'q4'];

export interface PackOptions {
  /** Default 'f32'. */
  dtype?: WeightDType;
  /** An abort rejects with the signal's reason; nothing stays allocated. */
  signal?: AbortSignal;
  /** Called between slices, and with 1 at the end. */
  onProgress?: (fraction: number) => void;
}

/** A matrix packed once into the layout its backend wants. Opaque; freed by `dispose`. */
export class Weight {
  readonly backend: Owner;
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

  /** Use a backend's `pack`. @internal */
  constructor(backend: Owner, desc: Pick<Weight, 'dtype' | 'shape' | 'parts' | 'bytes'>, handle: unknown, release: () => void) {
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

/** Refuses what the backend cannot pack. */
export function checkWeightDType(
  { name, dtypes }: Owner & { readonly dtypes: readonly WeightDType[] },
  op: string,
  dtype: WeightDType,
): void {
  if (dtypes.includes(dtype)) return;
  const expected = dtypes.join(', ');
  const message = `${op}: dtype ${show(dtype)} is not supported by the ${name} backend, use ${expected}`;
  const got = typeof dtype === 'string' ? dtype : show(dtype);
  throw new SkipVisionError('unsupported', message, { op, argument: 'dtype', got, expected });
}
