/** The Wasm backend: SIMD kernels on the calling thread, over one linear memory. */
import type { Backend, Driver, Feature, LossInfo, Pause, Rejection } from '../backend.ts';
import { createBackend } from '../create.ts';
import { SkipVisionError } from '../errors.ts';
import type { Op, Signature } from '../op.ts';
import { elementCount, type Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type Weight, type WeightDType } from '../weight.ts';
import type { MatrixReader } from '../weight-source.ts';
import { yieldToOthers } from '../yield.ts';
import { type Binary, type BinaryOptions, loadBinary, requireWebAssembly } from './binary.ts';
import type { WasmContext, WasmIo, WasmWeight } from './binding.ts';
import { LinearMemory, MAXIMUM_PAGES, PAGE } from './memory.ts';
import { packWeight } from './pack.ts';

class WasmDriver implements Driver {
  readonly name = 'wasm';
  readonly description: string;
  readonly features: ReadonlySet<Feature>;
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits = { maxBufferBytes: (MAXIMUM_PAGES - 1) * PAGE };
  readonly lost: Promise<LossInfo>;
  readonly #kernels: Binary['kernels'];
  readonly #group: Binary['group'];
  #memory: LinearMemory | undefined;
  #settleLost!: (info: LossInfo) => void;

  constructor(memory: LinearMemory, { kernels, variant, group, reason }: Binary) {
    this.#memory = memory;
    this.#kernels = kernels;
    this.#group = group;
    this.features = new Set<Feature>(variant === 'relaxed' ? ['simd', 'relaxed-simd'] : ['simd']);
    this.description = variant === 'relaxed' ? 'simd128 + relaxed SIMD' : `simd128${reason ? ` (${reason})` : ''}`;
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
  }

  allocate(bytes: number): number {
    return this.#live().allocate(bytes);
  }

  free(handle: unknown): void {
    this.#memory?.free(handle as number); // after dispose the memory is gone as a whole
  }

  write(handle: unknown, data: TypedArray): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#live()
      .bytes(handle as number, data.byteLength)
      .set(bytes);
  }

  adopt(handle: unknown, desc: TensorDesc): number {
    const { memory, pointer } = (handle ?? {}) as { memory?: unknown; pointer?: unknown };
    const held = this.#live();
    const bytes = elementCount(desc.shape) * 4;
    if (memory !== held.memory) {
      throw badHandle("memory that is not this backend's", 'a { memory, pointer } with the memory of wasmMemoryOf(backend)');
    }
    if (
      !Number.isInteger(pointer) ||
      (pointer as number) <= 0 ||
      (pointer as number) % 4 !== 0 ||
      (pointer as number) + bytes > held.reserved
    ) {
      throw badHandle(`pointer ${String(pointer)}`, `a multiple of 4 above 0 with ${bytes} bytes of memory behind it`);
    }
    return pointer as number;
  }

  async pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: WasmWeight; bytes: number }> {
    return packWeight(() => this.#live(), this.#kernels, matrices, dtype, pause);
  }

  freeWeight(handle: unknown): void {
    this.#memory?.free((handle as WasmWeight).pointer);
  }

  run(
    op: Op,
    operands: Readonly<Record<string, Tensor | Weight | undefined>>,
    dims: Readonly<Record<string, number>>,
    attrs: object,
  ): void {
    const memory = this.#live();
    const io: Record<string, number | WasmWeight> = {};
    for (const name of Object.keys(op.io)) {
      const operand = operands[name];
      io[name] = operand === undefined ? 0 : 'storage' in operand ? (operand.storage.handle as number) : (operand.handle as WasmWeight);
    }
    const arena: number[] = [];
    const scratch = (bytes: number) => {
      const pointer = memory.allocate(bytes);
      arena.push(pointer);
      return pointer;
    };
    const context: WasmContext = {
      kernels: this.#kernels,
      group: this.#group,
      scratch,
      u32(values) {
        const pointer = scratch(values.length * 4);
        memory.u32(pointer, values.length).set(values);
        return pointer;
      },
    };
    try {
      op.wasm(context, io as WasmIo<Signature>, dims, attrs);
    } catch (cause) {
      if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
      throw new SkipVisionError('backend-failed', `${op.name}: the kernel trapped: ${cause.message}`, { op: op.name, cause });
    } finally {
      for (const pointer of arena) memory.free(pointer);
    }
  }

  async read(handle: unknown, bytes: number): Promise<ArrayBuffer> {
    return this.#live()
      .bytes(handle as number, bytes)
      .slice().buffer;
  }

  flush(): Promise<void> {
    return yieldToOthers();
  }

  reserved(): number {
    return this.#memory?.reserved ?? 0;
  }

  linearMemory(): LinearMemory {
    return this.#live();
  }

  async dispose(): Promise<void> {
    this.#memory = undefined;
    this.#settleLost({ reason: 'destroyed', message: 'the backend was disposed' });
  }

  #live(): LinearMemory {
    if (!this.#memory) throw new SkipVisionError('disposed', 'this wasm backend was disposed');
    return this.#memory;
  }
}

function badHandle(got: string, expected: string): SkipVisionError {
  return new SkipVisionError('invalid-argument', `borrow: handle is ${got}, expected ${expected}`, {
    op: 'borrow',
    argument: 'handle',
    got,
    expected,
  });
}

export interface WasmBackendOptions extends BinaryOptions {
  rejected?: readonly Rejection[];
}

const memories = new WeakMap<Backend, WasmDriver>();

/** SIMD WebAssembly on the calling thread. Throws 'unsupported' where the host has no Wasm SIMD or forbids compiling it. */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  requireWebAssembly();
  const memory = new LinearMemory();
  const driver = new WasmDriver(memory, await loadBinary(memory, options));
  const backend = createBackend(driver, options.rejected);
  memories.set(backend, driver);
  return backend;
}

/**
 * The linear memory of a Wasm backend, for zero-copy: get space with `allocate`, wrap it by
 * `backend.borrow({ memory, pointer }, desc)`, and `free` it after the tensors over it. `memory.buffer` is replaced when
 * the memory grows, so make views anew after each call into the backend.
 */
export function wasmMemoryOf(backend: Backend): Pick<LinearMemory, 'memory' | 'allocate' | 'free'> {
  const driver = memories.get(backend);
  if (!driver)
    throw new SkipVisionError('wrong-backend', `wasmMemoryOf: this is a ${backend.name} backend`, {
      argument: 'backend',
      got: backend.name,
      expected: 'wasm',
    });
  return driver.linearMemory();
}
