/** The Wasm backend: SIMD kernels on the calling thread, or shared with workers, over one linear memory. */
import type { Backend, Driver, Limits, LossInfo, Operands, Pause } from '../backend.ts';
import type { Feature } from '../features.ts';
import { createBackend } from '../create.ts';
import { invalidArgument, SkipVisionError } from '../errors.ts';
import * as field from '../fields.ts';
import { listsOf, type Signature } from '../op.ts';
import type { Op } from '../bound-op.ts';
import { byteOffsetOf, bytesOf, storageOf, Tensor, type TensorDesc, type TypedArray } from '../tensor.ts';
import { WEIGHT_DTYPES, type WeightDType } from '../weight.ts';
import type { MatrixReader } from '../quantize.ts';
import { yieldToOthers } from '../yield.ts';
import { type Binary, requireWebAssembly, type TileRows } from './binary.ts';
import type { WasmContext, WasmIo, WasmWeight } from './binding.ts';
import type { Kernel } from './control.ts';
import { type LinearMemory, PAGE, RESERVED } from './memory.ts';
import { packWeight } from './pack.ts';
import type { Pool } from './pool.ts';
import { WASM_BACKEND_FIELDS, WASM_MEMORY_OF_FIELDS, type WasmBackendOptions } from './options.ts';
import { makeParts, type Parts } from './threads.ts';

export type { WasmBackendOptions } from './options.ts';

/** Two cache lines, which processors fetch together: so threads never write to the same pair. */
const OWN_ALIGNMENT = 128;
/** Bytes between the scratch of two threads, as the prefetcher of one reads on behind the panel that it unpacks there. */
const OWN_DISTANCE = 2048;

class WasmDriver implements Driver {
  readonly name = 'wasm';
  readonly features: ReadonlySet<Feature>;
  readonly dtypes = WEIGHT_DTYPES;
  readonly limits: Limits;
  #settleLost!: (info: LossInfo) => void;
  readonly lost = new Promise<LossInfo>((resolve) => {
    this.#settleLost = resolve;
  });
  binary: Readonly<Binary>;
  #memory: LinearMemory | undefined;
  readonly #pool: Pool | undefined;
  readonly #noThreads: string | undefined;
  readonly #context: WasmContext & { group: TileRows };
  /** Scratch memory of the op that runs. */
  readonly #arena: number[] = [];
  #running: Op | undefined;

  constructor({ memory, binary, pool, noThreads }: Parts) {
    this.#memory = memory;
    this.limits = { maxBufferBytes: (memory.maximumPages - 1) * PAGE };
    this.#pool = pool;
    this.#noThreads = noThreads;
    this.binary = binary;
    this.#context = this.#makeContext();
    const features: Feature[] = ['simd'];
    if (binary.variant === 'relaxed') features.push('relaxed-simd');
    if (binary.wide) features.push('wide-simd');
    if (pool) features.push('threads');
    this.features = new Set(features);
  }

  get description(): string {
    const { variant, group, reason, wide, notWide } = this.binary;
    const parts = [variant === 'relaxed' ? 'simd128 + relaxed SIMD' : `simd128${reason ? ` (${reason})` : ''}`];
    parts.push(wide ? '256-bit products' : `${group}x8 tiles`);
    if (notWide) parts.push(`128-bit products (${notWide})`);
    if (this.#pool) parts.push(`${this.#pool.threads} threads`);
    else if (this.#noThreads) parts.push(`one thread (${this.#noThreads})`);
    return parts.join(', ');
  }

  /** For products from now on: their bits do not depend on it. */
  takeTile(group: TileRows): void {
    this.binary = { ...this.binary, group };
    this.#context.group = group;
  }

  allocate(bytes: number): number {
    return this.linearMemory().allocate(bytes);
  }

  free(handle: unknown): void {
    this.#memory?.free(handle as number); // after dispose the memory is gone as a whole
  }

  write(handle: unknown, data: TypedArray): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.linearMemory()
      .bytes(handle as number, data.byteLength)
      .set(bytes);
  }

  adopt(handle: unknown, desc: TensorDesc): number {
    const { memory, pointer } = (handle ?? {}) as { memory?: unknown; pointer?: unknown };
    const held = this.linearMemory();
    const bytes = bytesOf(desc);
    if (memory !== held.memory) {
      const expected = 'a { memory, pointer } with the memory of wasmMemoryOf(backend)';
      throw invalidArgument('borrow', 'handle', "memory that is not this backend's", expected);
    }
    const at = Number.isInteger(pointer) ? (pointer as number) : Number.NaN;
    if (!(at >= RESERVED && at % 4 === 0 && at + bytes <= held.reserved)) {
      const expected = `a multiple of 4 from ${RESERVED} on with ${bytes} bytes of memory behind it`;
      throw invalidArgument('borrow', 'handle', `pointer ${String(pointer)}`, expected);
    }
    return at;
  }

  async pack(matrices: readonly MatrixReader[], dtype: WeightDType, pause: Pause): Promise<{ handle: WasmWeight; bytes: number }> {
    return packWeight(() => this.linearMemory(), this.binary.kernels, matrices, dtype, pause);
  }

  freeWeight(handle: unknown): void {
    this.free((handle as WasmWeight).pointer);
  }

  run(op: Op, operands: Operands, dims: Readonly<Record<string, number>>, attrs: object): void {
    const io: Record<string, number | WasmWeight> = {};
    for (const { name } of listsOf(op.definition.io).operands) {
      const operand = operands[name];
      io[name] =
        operand === undefined
          ? 0
          : operand instanceof Tensor
            ? (storageOf(operand).handle as number) + byteOffsetOf(operand)
            : (operand.handle as WasmWeight);
    }
    this.#running = op;
    try {
      op.wasm!(this.#context, io as WasmIo<Signature>, dims, attrs);
    } catch (cause) {
      if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
      const { name } = op.definition;
      throw new SkipVisionError('backend-failed', `${name}: the kernel trapped: ${cause.message}`, { op: name, cause });
    } finally {
      for (const pointer of this.#arena) this.#memory?.free(pointer);
      this.#arena.length = 0;
    }
  }

  /** One for all runs, as they come one after the other. */
  #makeContext(): WasmContext & { group: TileRows } {
    const scratch = (bytes: number) => {
      const pointer = this.linearMemory().allocate(bytes);
      this.#arena.push(pointer);
      return pointer;
    };
    const pool = this.#pool;
    const threads = pool?.threads ?? 1;
    const { kernels, group, wide } = this.binary;
    return {
      kernels,
      group,
      wide,
      scratch,
      threads,
      shareFrom: pool?.shareFrom ?? 0,
      ownScratch(bytes) {
        const stride = Math.ceil((bytes + OWN_DISTANCE) / OWN_ALIGNMENT) * OWN_ALIGNMENT;
        return { pointer: scratch(stride * (threads - 1) + bytes), stride };
      },
      share: (shared) => {
        if (pool) {
          pool.run(this.#running!.definition.name, shared);
          return;
        }
        const kernel = kernels[shared.kernel] as Kernel;
        for (let call = 0; call < shared.calls; call++) kernel(...shared.args(call));
      },
      u32: (values) => {
        const pointer = scratch(values.length * 4);
        this.linearMemory().u32(pointer, values.length).set(values);
        return pointer;
      },
    };
  }

  async read(handle: unknown, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    return this.linearMemory()
      .bytes((handle as number) + byteOffset, bytes)
      .slice().buffer;
  }

  flush(): Promise<void> {
    return yieldToOthers();
  }

  reserved(): number {
    return this.#memory?.reserved ?? 0;
  }

  async dispose(): Promise<void> {
    this.#memory = undefined;
    this.#settleLost({ reason: 'destroyed', message: 'the backend was disposed' });
    await this.#pool?.dispose();
  }

  linearMemory(): LinearMemory {
    if (!this.#memory) throw new SkipVisionError('disposed', 'this wasm backend was disposed');
    return this.#memory;
  }
}

const drivers = new WeakMap<Backend, WasmDriver>();

/**
 * SIMD WebAssembly on the calling thread, with `threads` on more. Throws 'unsupported' where the host has no Wasm SIMD or forbids
 * compiling it.
 */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  field.checkFields('createWasmBackend', options, WASM_BACKEND_FIELDS);
  requireWebAssembly();
  const { onFallback, rejected } = options;
  const parts = await makeParts(options);
  const driver = new WasmDriver(parts);
  const backend = createBackend(driver, rejected);
  drivers.set(backend, driver);
  try {
    for (const reason of [parts.noThreads, parts.binary.notWide]) if (reason) onFallback?.({ name: 'wasm', reason });
  } catch (error) {
    await backend[Symbol.asyncDispose]();
    throw error;
  }
  return backend;
}

/**
 * The linear memory of a Wasm backend, for zero-copy: get space with `allocate`, wrap it by
 * `backend.borrow({ memory, pointer }, desc)`, and `free` it after the tensors over it. `memory.buffer` is replaced when
 * the memory grows, so make views anew after each call into the backend.
 */
export function wasmMemoryOf(backend: Backend): Pick<LinearMemory, 'memory' | 'allocate' | 'free'> {
  field.checkFields('wasmMemoryOf', { backend }, WASM_MEMORY_OF_FIELDS);
  return wasmDriverOf('wasmMemoryOf', backend).linearMemory();
}

/** For `op`, which takes wasm backends only. */
export function wasmDriverOf(op: string, backend: Backend): Pick<WasmDriver, 'binary' | 'linearMemory' | 'takeTile'> {
  const driver = drivers.get(backend);
  if (driver) return driver;
  const details = { argument: 'backend', got: backend.name, expected: 'wasm' };
  throw new SkipVisionError('wrong-backend', `${op}: this is a ${backend.name} backend`, details);
}
