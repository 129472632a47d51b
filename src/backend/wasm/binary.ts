/** Which kernel binary runs here: the relaxed one when it validates and computes right, else plain simd128. */
import { SkipVisionError } from '../errors.ts';
import { yieldToOthers } from '../yield.ts';
import { FORM, type WasmKernels } from './binding.ts';
import { kernelBytes } from './kernel-bytes.ts';
import type { LinearMemory } from './memory.ts';
import { TILE_BYTES } from './product.ts';
import { computesRight } from './self-check.ts';

export type WasmVariant = 'simd128' | 'relaxed';
/** Rows of the matrix tile. */
export type TileRows = 4 | 6;

export interface BinaryOptions {
  /** 'auto' takes relaxed SIMD where it works. Default 'auto'. */
  variant?: WasmVariant | 'auto';
  /** A compiled kernel binary of this package, for hosts that forbid compiling at run time. Decides the variant. */
  wasmModule?: WebAssembly.Module;
  /** 'auto' times both tiles once per process (some milliseconds) where relaxed SIMD is used. Results are the same to the bit. */
  tileRows?: TileRows | 'auto';
}

export interface Binary {
  kernels: WasmKernels;
  module: WebAssembly.Module;
  variant: WasmVariant;
  group: TileRows;
  /** Why relaxed SIMD is not used, if it was wanted. */
  reason?: string;
}

/** Instantiates the kernels over `linear`. Throws 'unsupported' with a reason where Wasm or SIMD cannot be had. */
export async function loadBinary(linear: LinearMemory, options: BinaryOptions = {}): Promise<Binary> {
  const { tileRows = 'auto' } = options;
  const chosen = await chooseBinary(linear, options);
  if (tileRows !== 'auto') return { ...chosen, group: tileRows };
  // Without a fused multiply-add six rows need one register more than there is.
  if (chosen.variant === 'simd128') return { ...chosen, group: 4 };
  fasterTile ??= await timeTiles(chosen.kernels, linear);
  return { ...chosen, group: fasterTile };
}

/** Throws 'unsupported' where the host has no WebAssembly at all, before anything of it is touched. */
export function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object' || typeof WebAssembly.Memory !== 'function') throw unsupported('this host has no WebAssembly');
}

type Instantiated = Pick<Binary, 'kernels' | 'module'>;

async function chooseBinary(linear: LinearMemory, { variant = 'auto', wasmModule }: BinaryOptions): Promise<Omit<Binary, 'group'>> {
  if (wasmModule) return precompiled(wasmModule, linear);
  const simdBytes = await kernelBytes('simd128');
  if (!WebAssembly.validate(simdBytes)) throw unsupported('this WebAssembly has no 128-bit SIMD');
  if (variant === 'simd128') return { ...(await instantiate(simdBytes, linear)), variant };
  const relaxed = await tryRelaxed(linear);
  if (!('reason' in relaxed)) return { ...relaxed, variant: 'relaxed' };
  if (variant === 'relaxed') throw unsupported(relaxed.reason);
  return { ...(await instantiate(simdBytes, linear)), variant: 'simd128', reason: relaxed.reason };
}

async function tryRelaxed(linear: LinearMemory): Promise<Instantiated | { reason: string }> {
  const relaxedBytes = await kernelBytes('relaxed');
  if (!WebAssembly.validate(relaxedBytes)) return { reason: 'this WebAssembly has no relaxed SIMD' };
  const relaxed = await instantiate(relaxedBytes, linear);
  return computesRight(relaxed.kernels, linear) ? relaxed : { reason: 'relaxed SIMD validates, but gives wrong results on this host' };
}

function precompiled(module: WebAssembly.Module, linear: LinearMemory): Omit<Binary, 'group'> {
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exported.has('uses_relaxed_simd')) {
    throw new SkipVisionError('invalid-argument', 'wasmModule is not a kernel binary of this package', { argument: 'wasmModule' });
  }
  const kernels = new WebAssembly.Instance(module, importsOf(linear)).exports as unknown as WasmKernels;
  if (!computesRight(kernels, linear)) throw unsupported('the given wasmModule gives wrong results on this host');
  return { kernels, module, variant: kernels.uses_relaxed_simd!() ? 'relaxed' : 'simd128' };
}

async function instantiate(bytes: Uint8Array<ArrayBuffer>, linear: LinearMemory): Promise<Instantiated> {
  try {
    const { instance, module } = await WebAssembly.instantiate(linear.shared ? withSharedMemory(bytes) : bytes, importsOf(linear));
    return { kernels: instance.exports as unknown as WasmKernels, module };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const hint = /unsafe-eval|content security|disallowed/i.test(message)
      ? "; its policy must allow 'wasm-unsafe-eval', or give a wasmModule"
      : '';
    throw unsupported(`this host refuses to compile WebAssembly (${message})${hint}`, cause);
  }
}

/** As the memory import of the kernels starts: "env" "memory", a memory, and the flags of its limits: 1 for a maximum. */
const MEMORY_IMPORT = [3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 1];

/**
 * The binary as it would be if it had been compiled for shared memory: one flag of the import differs. The kernels have no atomic
 * instructions; what orders their loads and stores stands in control.ts.
 */
function withSharedMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const at = bytes.findIndex((_, i) => MEMORY_IMPORT.every((byte, j) => bytes[i + j] === byte));
  if (at < 0) throw new Error('the kernels import no memory with a maximum');
  const shared = bytes.slice();
  shared[at + MEMORY_IMPORT.length - 1] = 3;
  return shared;
}

function importsOf({ memory }: LinearMemory): WebAssembly.Imports {
  return { env: { memory } };
}

/** What this process measured; engine and machine do not change under it. */
let fasterTile: TileRows | undefined;

const TIMING_ROUNDS = 6;
/** Long beside the 0.1 ms to which browsers round their clock. */
const SLICE_MS = 1;

/**
 * The 6-row tile is 10-20 % faster than the 4-row one, or half as fast: that depends on the engine's register allocation,
 * not on anything one can ask for. The best slice counts: the engine optimises the tiles in the background meanwhile, and
 * other threads may take the core.
 */
async function timeTiles(kernels: WasmKernels, linear: LinearMemory): Promise<TileRows> {
  const [rows, K, N] = [12, 256, 32];
  const pointer = linear.allocate(TILE_BYTES + (rows * K + N * K + rows * N) * 4);
  const a = pointer + TILE_BYTES;
  const b = a + rows * K * 4;
  const y = b + N * K * 4;
  kernels.fill_f32!(pointer, (y - pointer) / 4, 1);
  const callsPerMs = { 4: 0, 6: 0 };
  for (let round = 0; round < TIMING_ROUNDS; round++) {
    for (const group of [4, 6] as const) {
      const start = performance.now();
      let elapsed = 0;
      let calls = 0;
      for (; elapsed < SLICE_MS; elapsed = performance.now() - start, calls += 4) {
        for (let i = 0; i < 4; i++) kernels.matmul!(FORM.f32, pointer, a, K * group * 4, rows, group, K, b, N, y, N * 4, 0, 0, 0, 0, 0);
      }
      callsPerMs[group] = Math.max(callsPerMs[group], calls / elapsed);
    }
    await yieldToOthers();
  }
  linear.free(pointer);
  return callsPerMs[6] > callsPerMs[4] * 1.03 ? 6 : 4;
}

function unsupported(reason: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('unsupported', `wasm: ${reason}`, { cause });
}
