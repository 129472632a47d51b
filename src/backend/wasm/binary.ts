/** Which kernel binary runs here: the relaxed one when it validates and computes right, else plain simd128. */
import { SkipVisionError } from '../errors.ts';
import type { WasmKernels } from './binding.ts';
import { kernelBytes } from './kernel-bytes.ts';
import type { LinearMemory } from './memory.ts';
import { race } from './race.ts';
import { computesRight } from './self-check.ts';
import { widen } from './wide.ts';

export type WasmVariant = 'simd128' | 'relaxed';
/** Rows of the matrix tile. */
export type TileRows = 4 | 6;

export interface BinaryOptions {
  /** 'auto' takes relaxed SIMD where it works. Default 'auto'. */
  variant?: WasmVariant | 'auto';
  /** A compiled kernel binary of this package, for hosts that forbid compiling at run time. Decides the variant. */
  wasmModule?: WebAssembly.Module;
  /** 'auto' times both tiles once per process (some 20 to 60 ms) where relaxed SIMD is used. Results are the same to the bit. */
  tileRows?: TileRows | 'auto';
  /**
   * Products of f32 weights on 256-bit vectors where they are to be had (Node 24 on x86-64): nearly twice as fast, the same to the
   * bit. Rests on an experimental pass of V8, whose flag is set for the whole process while the backend is made, so it is off by
   * default. Where it brings nothing or computes otherwise it stays off, and the backend's description says why.
   */
  wide?: boolean;
}

export interface Binary {
  kernels: WasmKernels;
  module: WebAssembly.Module;
  variant: WasmVariant;
  group: TileRows;
  /** Why relaxed SIMD is not used, if it was wanted. */
  reason?: string;
  wide: boolean;
  /** Why it is not wide, if that was wanted. */
  notWide?: string;
}

/** Instantiates the kernels over `linear`. Throws 'unsupported' with a reason where Wasm or SIMD cannot be had. */
export async function loadBinary(linear: LinearMemory, options: BinaryOptions = {}): Promise<Binary> {
  const chosen = await chooseBinary(linear, options);
  const group = await chooseTile(linear, chosen, options.tileRows);
  if (!options.wide) return { ...chosen, group, wide: false };
  // After the tiles were timed: what the engine has optimised by then stays plain.
  const widened = await tryWide(linear, chosen, options);
  if (typeof widened === 'object') return { ...chosen, ...widened, group: 6, wide: true };
  return { ...chosen, group, wide: false, notWide: `wide was asked for, but ${widened}` };
}

async function chooseTile(linear: LinearMemory, { variant, kernels }: Chosen, tileRows: TileRows | 'auto' = 'auto'): Promise<TileRows> {
  if (tileRows !== 'auto') return tileRows;
  // Without a fused multiply-add six rows need one register more than there is.
  if (variant === 'simd128') return 4;
  fasterTile ??= await timeTiles(kernels, linear);
  return fasterTile;
}

/** Throws 'unsupported' where the host has no WebAssembly at all, before anything of it is touched. */
export function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object' || typeof WebAssembly.Memory !== 'function') throw unsupported('this host has no WebAssembly');
}

type Instantiated = Pick<Binary, 'kernels' | 'module'>;
type Chosen = Omit<Binary, 'group' | 'wide' | 'notWide'>;

async function chooseBinary(linear: LinearMemory, { variant = 'auto', wasmModule }: BinaryOptions): Promise<Chosen> {
  if (wasmModule) return precompiled(wasmModule, linear);
  const simdBytes = await kernelBytes('simd128');
  if (!WebAssembly.validate(simdBytes)) throw unsupported('this WebAssembly has no 128-bit SIMD');
  if (variant === 'simd128') return { ...(await instantiate(simdBytes, linear)), variant };
  const relaxed = await tryRelaxed(linear);
  if (!('reason' in relaxed)) return { ...relaxed, variant: 'relaxed' };
  if (variant === 'relaxed') throw unsupported(relaxed.reason);
  return { ...(await instantiate(simdBytes, linear)), variant: 'simd128', reason: relaxed.reason };
}

async function tryWide(
  linear: LinearMemory,
  { kernels, variant }: Pick<Binary, 'kernels' | 'variant'>,
  options: BinaryOptions,
): Promise<Instantiated | string> {
  if (options.wasmModule) return 'a wasmModule was given';
  if (variant !== 'relaxed') return 'it needs relaxed SIMD';
  return widen(bytesFor(linear, await kernelBytes('relaxed')), importsOf(linear), linear, kernels);
}

async function tryRelaxed(linear: LinearMemory): Promise<Instantiated | { reason: string }> {
  const relaxedBytes = await kernelBytes('relaxed');
  if (!WebAssembly.validate(relaxedBytes)) return { reason: 'this WebAssembly has no relaxed SIMD' };
  const relaxed = await instantiate(relaxedBytes, linear);
  return computesRight(relaxed.kernels, linear) ? relaxed : { reason: 'relaxed SIMD validates, but gives wrong results on this host' };
}

function precompiled(module: WebAssembly.Module, linear: LinearMemory): Chosen {
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
    const { instance, module } = await WebAssembly.instantiate(bytesFor(linear, bytes), importsOf(linear));
    return { kernels: instance.exports as unknown as WasmKernels, module };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const hint = /unsafe-eval|content security|disallowed/i.test(message)
      ? "; its policy must allow 'wasm-unsafe-eval', or give a wasmModule"
      : '';
    throw unsupported(`this host refuses to compile WebAssembly (${message})${hint}`, cause);
  }
}

function bytesFor({ shared }: LinearMemory, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return shared ? withSharedMemory(bytes) : bytes;
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

/** More than the least only while six rows seem slower: a neighbour on the core, or code not yet optimised, can make them so. */
const TIMING_ROUNDS = { least: 6, most: 24 };

/** The 6-row tile is 10-20 % faster than the 4-row one, or half as fast: that is a matter of the engine's register allocation. */
async function timeTiles(kernels: WasmKernels, linear: LinearMemory): Promise<TileRows> {
  const runners = [
    { kernels, group: 4 },
    { kernels, group: 6 },
  ] as const;
  const sixWin = ([four, six]: readonly number[]) => six! > four! * 1.03;
  return sixWin(await race(linear, runners, TIMING_ROUNDS, sixWin)) ? 6 : 4;
}

function unsupported(reason: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('unsupported', `wasm: ${reason}`, { cause });
}
