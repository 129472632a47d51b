/** The reference backend: typed arrays and each op's plain loops. The specification of every op, and the last fallback. */
import type { Backend, Driver, LossInfo, Rejection } from '../backend.ts';
import { createBackend } from '../create.ts';
import { invalidArgument, SkipVisionError } from '../errors.ts';
import type { Op, ReferenceIo, Signature } from '../op.ts';
import { type DType, elementCount, type Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { matricesOf, type Weight, type WeightSource } from '../weight.ts';
import { yieldToOthers } from '../yield.ts';

interface Memory {
  buffer: ArrayBufferLike;
  byteOffset: number;
}

class ReferenceDriver implements Driver {
  readonly name = 'reference';
  readonly description = 'TypeScript loops, f64 accumulation';
  readonly features: ReadonlySet<never> = new Set<never>();
  readonly limits = { maxBufferBytes: 2 ** 32 - 4 };
  readonly lost: Promise<LossInfo>;
  #settleLost!: (info: LossInfo) => void;
  #reserved = 0;

  constructor() {
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
  }

  allocate(bytes: number): Memory {
    try {
      const memory = { buffer: new ArrayBuffer(bytes), byteOffset: 0 };
      this.#reserved += bytes;
      return memory;
    } catch (cause) {
      throw new SkipVisionError('out-of-memory', `no ${bytes} bytes could be allocated`, { cause });
    }
  }

  free(handle: unknown): void {
    this.#reserved -= (handle as Memory).buffer.byteLength;
  }

  write(handle: unknown, data: TypedArray): void {
    const { buffer, byteOffset } = handle as Memory;
    new Uint8Array(buffer, byteOffset, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  adopt(handle: unknown, desc: TensorDesc): Memory {
    const wanted = desc.dtype === 'f32' ? Float32Array : Uint32Array;
    if (!(handle instanceof wanted) || handle.length < elementCount(desc.shape)) {
      const got = handle instanceof wanted ? `${handle.length} elements` : Object.prototype.toString.call(handle);
      throw invalidArgument('borrow', 'handle', got, `a ${wanted.name} of at least ${elementCount(desc.shape)} elements`);
    }
    return { buffer: handle.buffer, byteOffset: handle.byteOffset };
  }

  async pack(source: WeightSource): Promise<{ handle: unknown; bytes: number }> {
    const matrices = matricesOf(source).map(({ data }) => data.slice());
    const bytes = matrices.reduce((sum, matrix) => sum + matrix.byteLength, 0);
    this.#reserved += bytes;
    return { handle: matrices, bytes };
  }

  freeWeight(handle: unknown): void {
    for (const matrix of handle as Float32Array[]) this.#reserved -= matrix.byteLength;
  }

  run(
    op: Op,
    operands: Readonly<Record<string, Tensor | Weight | undefined>>,
    dims: Readonly<Record<string, number>>,
    attrs: object,
  ): void {
    const io: Record<string, unknown> = {};
    for (const [name, operand] of Object.entries(operands)) {
      if (operand) io[name] = 'storage' in operand ? arrayOf(operand) : operand.handle;
    }
    op.reference(io as ReferenceIo<Signature>, dims, attrs);
  }

  async read(handle: unknown, bytes: number): Promise<ArrayBuffer> {
    const { buffer, byteOffset } = handle as Memory;
    return new Uint8Array(buffer, byteOffset, bytes).slice().buffer;
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

function arrayOf(tensor: Tensor<DType>): TypedArray {
  const { buffer, byteOffset } = tensor.storage.handle as Memory;
  return tensor.dtype === 'f32' ? new Float32Array(buffer, byteOffset, tensor.size) : new Uint32Array(buffer, byteOffset, tensor.size);
}

/** Plain TypeScript on the calling thread. Always available. */
export function createReferenceBackend(options: { rejected?: readonly Rejection[] } = {}): Backend {
  return createBackend(new ReferenceDriver(), options.rejected);
}
