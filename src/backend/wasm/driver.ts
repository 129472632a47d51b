/** The Wasm backend: SIMD kernels on the calling thread, or shared with workers, over one linear memory. */
import type { Backend, Driver, Feature, Limits, LossInfo, Pause, Rejection } from '../backend.ts';
import { createBackend } from '../create.ts';
import { SkipVisionError } from '../errors.ts';
import { listsOf, type Op, type Signature } from '../op.ts';
import { bytesOf, type Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type Weight, type WeightDType } from '../weight.ts';
import type { MatrixReader } from '../weight-source.ts';
import { yieldToOthers } from '../yield.ts';
import { type Binary, type BinaryOptions, loadBinary, requireWebAssembly } from './binary.ts';
import type { SharedCalls, WasmContext, WasmIo, WasmWeight } from './binding.ts';
import { LinearMemory, PAGE, RESERVED } from './memory.ts';
import { packWeight } from './pack.ts';
import type { Pool } from './pool.ts';
import { checkThreads } from './thread-count.ts';
import { startThreads, type ThreadOptions } from './threads.ts';

interface Parts {
  memory: LinearMemory;
  binary: Binary;
  pool?: Pool;
  /** Why there is one thread, if more were asked for. */
  noThreads?: string;
}

/** Two cache lines, as processors fetch them in pairs: what one thread writes shares none with another's. */
const OWN_ALIGNMENT = 128;
/** Bytes between one thread's scratch and the next one's: a prefetcher that follows a panel to its end reads on beyond it. */
const OWN_DISTANCE = 2048;

class WasmDriver implements Driver {
  readonly name = 'wasm';
  readonly description: string;
  readonly features: ReadonlySet<Feature>;
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits: Limits;
  readonly lost: Promise<LossInfo>;
  readonly #binary: Binary;
  #memory: LinearMemory | undefined;
  readonly #pool: Pool | undefined;
  readonly #context: WasmContext;
  /** Scratch memory of the op that runs. */
  readonly #arena: number[] = [];
  #running: Op | undefined;
  #settleLost!: (info: LossInfo) => void;

  constructor({ memory, binary, pool, noThreads }: Parts) {
    this.#memory = memory;
    this.limits = { maxBufferBytes: (memory.maximumPages - 1) * PAGE };
    this.#pool = pool;
    this.#binary = binary;
    this.#context = this.#makeContext();
    const { variant, group, reason, wide, notWide } = binary;
    const features: Feature[] = ['simd'];
    if (variant === 'relaxed') features.push('relaxed-simd');
    if (wide) features.push('wide-simd');
    if (pool) features.push('threads');
    this.features = new Set(features);
    const parts = [variant === 'relaxed' ? 'simd128 + relaxed SIMD' : `simd128${reason ? ` (${reason})` : ''}`];
    parts.push(wide ? '256-bit products' : `${group}x8 tiles`); // of f32 products: which is faster was timed
    if (notWide) parts.push(`128-bit products (${notWide})`);
    if (pool) parts.push(`${pool.threads} threads`);
    else if (noThreads) parts.push(`one thread (${noThreads})`);
    this.description = parts.join(', ');
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
    const bytes = bytesOf(desc);
    if (memory !== held.memory) {
      throw badHandle("memory that is not this backend's", 'a { memory, pointer } with the memory of wasmMemoryOf(backend)');
    }
    if (
      !Number.isInteger(pointer) ||
      (pointer as number) < RESERVED ||
      (pointer as number) % 4 !== 0 ||
      (pointer as number) + bytes > held.reserved
    ) {
      throw badHandle(`pointer ${String(pointer)}`, `a multiple of 4 from ${RESERVED} on with ${bytes} bytes of memory behind it`);
    }
    return pointer as number;
  }

  async pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: WasmWeight; bytes: number }> {
    return packWeight(() => this.#live(), this.#binary.kernels, matrices, dtype, pause);
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
    this.#live();
    const io: Record<string, number | WasmWeight> = {};
    for (const { name } of listsOf(op.io).operands) {
      const operand = operands[name];
      io[name] = operand === undefined ? 0 : 'storage' in operand ? (operand.storage.handle as number) : (operand.handle as WasmWeight);
    }
    this.#running = op;
    try {
      op.wasm(this.#context, io as WasmIo<Signature>, dims, attrs);
    } catch (cause) {
      if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
      throw new SkipVisionError('backend-failed', `${op.name}: the kernel trapped: ${cause.message}`, { op: op.name, cause });
    } finally {
      for (const pointer of this.#arena) this.#memory?.free(pointer);
      this.#arena.length = 0;
    }
  }

  /** One for all runs, as they come one after the other. */
  #makeContext(): WasmContext {
    const scratch = (bytes: number) => {
      const pointer = this.#live().allocate(bytes);
      this.#arena.push(pointer);
      return pointer;
    };
    const threads = this.#pool?.threads ?? 1;
    return {
      kernels: this.#binary.kernels,
      group: this.#binary.group,
      wide: this.#binary.wide,
      scratch,
      threads,
      shareFrom: this.#pool?.shareFrom ?? 0,
      ownScratch(bytes) {
        const stride = Math.ceil((bytes + OWN_DISTANCE) / OWN_ALIGNMENT) * OWN_ALIGNMENT;
        return { pointer: scratch(stride * (threads - 1) + bytes), stride };
      },
      share: (calls) => this.#share(calls),
      u32: (values) => {
        const pointer = scratch(values.length * 4);
        this.#live().u32(pointer, values.length).set(values);
        return pointer;
      },
    };
  }

  #share(calls: SharedCalls): void {
    if (this.#pool) {
      this.#pool.run(this.#running!.name, calls);
      return;
    }
    const kernel = this.#binary.kernels[calls.kernel]!;
    for (let call = 0; call < calls.calls; call++) kernel(...calls.args(call));
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
    await this.#pool?.dispose();
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

export interface WasmBackendOptions extends BinaryOptions, ThreadOptions {
  /** Told why there is one thread where more were asked for, and why there are no 256-bit products where they were. */
  onFallback?(rejection: Rejection): void;
  rejected?: readonly Rejection[];
}

const memories = new WeakMap<Backend, WasmDriver>();

/**
 * SIMD WebAssembly on the calling thread, with `threads` on more. Throws 'unsupported' where the host has no Wasm SIMD or forbids
 * compiling it.
 */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  requireWebAssembly();
  const { threads = 1, onFallback, rejected } = options;
  checkThreads('createWasmBackend', threads);
  const threaded = threads > 1 ? await startThreads(threads, options) : undefined;
  if (typeof threaded === 'string') onFallback?.({ name: 'wasm', reason: threaded });
  const parts = typeof threaded === 'object' ? threaded : await startAlone(options, threaded);
  if (parts.binary.notWide) onFallback?.({ name: 'wasm', reason: parts.binary.notWide });
  const driver = new WasmDriver(parts);
  const backend = createBackend(driver, rejected);
  memories.set(backend, driver);
  return backend;
}

async function startAlone(options: BinaryOptions, noThreads: string | undefined): Promise<Parts> {
  const memory = new LinearMemory();
  return { memory, binary: await loadBinary(memory, options), noThreads };
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
