/** The reference backend: typed arrays and each op's plain loops. The specification of every op, and the last fallback. */
import { type Backend, type Driver, type LossInfo, type Operands, type Pause, REJECTED_OPTION, type Rejection } from '../backend.ts';
import { createBackend } from '../create.ts';
import { invalidArgument, show, SkipVisionError } from '../errors.ts';
import { checkFields } from '../fields.ts';
import { fromF16Bits, toF16Bits } from '../f16.ts';
import type { ReferenceIo, Signature } from '../op.ts';
import type { Op } from '../bound-op.ts';
import { type MatrixReader, meaningOfQ4, meaningOfQ8, q4Of, quantizeQ8 } from '../quantize.ts';
import { ARRAYS, byteOffsetOf, type DType, elementCount, storageOf, Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type WeightDType } from '../weight.ts';
import { yieldToOthers } from '../yield.ts';

/** Elements of a matrix that are packed before the thread is given back. */
const SLICE_ELEMENTS = 1 << 20;

class ReferenceDriver implements Driver {
  readonly name = 'reference';
  readonly description = 'TypeScript loops, f64 accumulation';
  readonly features: ReadonlySet<never> = new Set<never>();
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits = { maxBufferBytes: 2 ** 32 - 4 };
  #settleLost!: (info: LossInfo) => void;
  readonly lost = new Promise<LossInfo>((resolve) => {
    this.#settleLost = resolve;
  });
  #reserved = 0;

  allocate(bytes: number): Uint8Array {
    try {
      const memory = new Uint8Array(bytes);
      this.#reserved += bytes;
      return memory;
    } catch (cause) {
      throw new SkipVisionError('out-of-memory', `no ${bytes} bytes could be allocated`, { cause });
    }
  }

  free(handle: unknown): void {
    this.#reserved -= (handle as Uint8Array).byteLength;
  }

  write(handle: unknown, data: TypedArray): void {
    (handle as Uint8Array).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  adopt(handle: unknown, desc: TensorDesc): Uint8Array {
    const wanted = ARRAYS[desc.dtype];
    if (!(handle instanceof wanted) || handle.length < elementCount(desc.shape)) {
      const got = handle instanceof wanted ? `${handle.length} elements` : show(handle);
      throw invalidArgument('borrow', 'handle', got, `a ${wanted.name} of at least ${elementCount(desc.shape)} elements`);
    }
    return new Uint8Array(handle.buffer, handle.byteOffset, handle.byteLength);
  }

  /** Keeps what the weight means, as floats. */
  async pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: Float32Array[]; bytes: number }> {
    const handle = matrices.map(({ shape }) => new Float32Array(shape[0] * shape[1]));
    for (const [part, matrix] of matrices.entries()) {
      const [N, K] = matrix.shape;
      const step = Math.max(1, Math.floor(SLICE_ELEMENTS / Math.max(K, 1)));
      for (let first = 0; first < N; first += step) {
        const count = Math.min(step, N - first);
        handle[part]!.set(meaningOf(matrix, dtype, first, count), first * K);
        if (first + count < N || part + 1 < matrices.length) await pause(count);
      }
    }
    const bytes = handle.reduce((sum, matrix) => sum + matrix.byteLength, 0);
    this.#reserved += bytes;
    return { handle, bytes };
  }

  freeWeight(handle: unknown): void {
    for (const matrix of handle as Float32Array[]) this.#reserved -= matrix.byteLength;
  }

  run(op: Op, operands: Operands, dims: Readonly<Record<string, number>>, attrs: object): void {
    const io: Record<string, unknown> = {};
    for (const [name, operand] of Object.entries(operands)) {
      if (operand) io[name] = operand instanceof Tensor ? arrayOf(operand) : operand.handle;
    }
    op.reference!(io as ReferenceIo<Signature>, dims, attrs);
  }

  async read(handle: unknown, offset: number, bytes: number): Promise<ArrayBuffer> {
    return (handle as Uint8Array).slice(offset, offset + bytes).buffer;
  }

  flush(): Promise<void> {
    return yieldToOthers();
  }

  reserved(): number {
    return this.#reserved;
  }

  async dispose(): Promise<void> {
    this.#settleLost({ reason: 'destroyed', message: 'the backend was disposed' });
  }
}

function meaningOf(matrix: MatrixReader, dtype: WeightDType, first: number, count: number): Float32Array {
  const K = matrix.shape[1];
  if (dtype === 'q4') return meaningOfQ4(q4Of(matrix, first, count), count, K);
  const rows = matrix.rows(first, count);
  if (dtype === 'q8') return meaningOfQ8(quantizeQ8(rows, count, K, 127), count, K);
  return dtype === 'f16' ? rows.map((value) => fromF16Bits(toF16Bits(value))) : rows;
}

function arrayOf(tensor: Tensor<DType>): TypedArray {
  const { buffer, byteOffset } = storageOf(tensor).handle as Uint8Array<ArrayBuffer>;
  return new ARRAYS[tensor.dtype](buffer, byteOffset + byteOffsetOf(tensor), tensor.size);
}

export interface ReferenceBackendOptions {
  rejected?: readonly Rejection[];
}

/** Plain TypeScript on the calling thread. Always available. */
export function createReferenceBackend(options: ReferenceBackendOptions = {}): Backend {
  checkFields('createReferenceBackend', options, REJECTED_OPTION);
  return createBackend(new ReferenceDriver(), options.rejected);
}
