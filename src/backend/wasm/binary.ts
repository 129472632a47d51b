/** Which kernel binary runs here: the relaxed one when it validates and computes right, else plain simd128. */
import { SkipVisionError } from '../errors.ts';
import type { WasmKernels } from './binding.ts';
import { kernelBytes } from './kernel-bytes.ts';
import type { LinearMemory } from './memory.ts';
import { computesRight, fusesMultiplyAdd } from './self-check.ts';
import type { Instance } from './wide.ts';

export type WasmVariant = 'simd128' | 'relaxed';
/** Rows of the matrix tile. */
export type TileRows = 4 | 6;

export interface BinaryOptions {
  /** 'auto' takes relaxed SIMD where it works. Default 'auto'. */
  variant?: WasmVariant | 'auto';
  /** A compiled kernel binary of this package, for hosts that forbid compiling at run time. Decides the variant. */
  wasmModule?: WebAssembly.Module;
  /** 'auto' takes the tile that was faster in engines like this one; `tuneWasm` times both. Results are the same to the bit. */
  tileRows?: TileRows | 'auto';
  /**
   * Products of f32 weights on 256-bit vectors where they are to be had (Node 24 on x86-64): nearly twice as fast, the same to the
   * bit. Rests on an experimental pass of V8, whose flag is set for the whole process while the backend is made, so it is off by
   * default. Where it brings nothing or computes otherwise it stays off, and the backend's description says why.
   */
  wide?: boolean;
}

export interface Binary extends Instance {
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
  const { tileRows = 'auto', wide } = options;
  const group = tileRows === 'auto' ? usualTile(linear, chosen) : tileRows;
  if (!wide) return { ...chosen, group, wide: false };
  const widened = await tryWide(linear, chosen, options);
  if (typeof widened === 'object') return { ...chosen, ...widened, group: 6, wide: true };
  return { ...chosen, group, wide: false, notWide: `wide was asked for, but ${widened}` };
}

/** A table of 64-bit indices and nothing else. Engines took it up in 2025: V8 with version 13.3. */
const TABLE64 = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 4, 4, 1, 0x70, 4, 0);

/**
 * Tiles of six rows are up to a fifth faster than those of four where their sums and operands fit into the registers of x86-64, and
 * half as fast where they do not: without a fused multiply-add, and in V8 12 and before. An engine cannot be asked for its age, so a
 * feature that is younger than those stands for it.
 */
function usualTile(linear: LinearMemory, { variant, kernels }: Chosen): TileRows {
  return variant === 'relaxed' && WebAssembly.validate(TABLE64) && fusesMultiplyAdd(kernels, linear) ? 6 : 4;
}

/** Throws 'unsupported' where the host has no WebAssembly at all, before anything of it is touched. */
export function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object' || typeof WebAssembly.Memory !== 'function') throw unsupported('this host has no WebAssembly');
}

type Chosen = Omit<Binary, 'group' | 'wide' | 'notWide'>;

async function chooseBinary(linear: LinearMemory, { variant = 'auto', wasmModule }: BinaryOptions): Promise<Chosen> {
  if (wasmModule) return precompiled(wasmModule, linear);
  const relaxed = variant === 'simd128' ? undefined : await tryRelaxed(linear);
  if (typeof relaxed === 'object') return { ...relaxed, variant: 'relaxed' };
  if (relaxed && variant === 'relaxed') throw unsupported(relaxed);
  const bytes = await kernelBytes('simd128');
  if (!WebAssembly.validate(bytes)) throw unsupported('this WebAssembly has no 128-bit SIMD');
  return { ...(await instantiate(bytes, linear)), variant: 'simd128', reason: relaxed };
}

async function tryWide(
  linear: LinearMemory,
  { kernels, variant }: Pick<Binary, 'kernels' | 'variant'>,
  options: BinaryOptions,
): Promise<Instance | string> {
  if (options.wasmModule) return 'a wasmModule was given';
  if (variant !== 'relaxed') return 'it needs relaxed SIMD';
  const { widen } = await import('./wide.ts'); // few ask for it
  return widen(bytesFor(linear, await kernelBytes('relaxed')), importsOf(linear), linear, kernels);
}

async function tryRelaxed(linear: LinearMemory): Promise<Instance | string> {
  const bytes = await kernelBytes('relaxed');
  let relaxed: Instance;
  try {
    relaxed = await instantiate(bytes, linear);
  } catch (error) {
    if (WebAssembly.validate(bytes)) throw error;
    return 'this WebAssembly has no relaxed SIMD';
  }
  return computesRight(relaxed.kernels, linear) ? relaxed : 'relaxed SIMD validates, but gives wrong results on this host';
}

function precompiled(module: WebAssembly.Module, linear: LinearMemory): Chosen {
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exported.has('uses_relaxed_simd')) {
    throw new SkipVisionError('invalid-argument', 'wasmModule is not a kernel binary of this package', { argument: 'wasmModule' });
  }
  const kernels = new WebAssembly.Instance(module, importsOf(linear)).exports as unknown as WasmKernels;
  if (!computesRight(kernels, linear)) throw unsupported('the given wasmModule gives wrong results on this host');
  return { kernels, module, variant: kernels.uses_relaxed_simd() ? 'relaxed' : 'simd128' };
}

async function instantiate(bytes: Uint8Array<ArrayBuffer>, linear: LinearMemory): Promise<Instance> {
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

/** The bytes of the kernels' memory import: "env", "memory", the kind memory, and the flags of its limits, 1 for "has a maximum". */
const MEMORY_IMPORT = [3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 1];

/**
 * The binary for this memory. For a shared one as if it had been compiled so, which differs in one byte: the flags of the import are 3,
 * "has a maximum, is shared". The kernels need no atomic instructions for it, as control.ts orders their loads and stores.
 */
function bytesFor(linear: LinearMemory, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (!linear.shared) return bytes;
  const at = bytes.findIndex((_, i) => MEMORY_IMPORT.every((byte, j) => bytes[i + j] === byte));
  if (at < 0) throw new Error('the kernels import no memory with a maximum');
  const shared = bytes.slice();
  shared[at + MEMORY_IMPORT.length - 1] = 3;
  return shared;
}

function importsOf({ memory }: LinearMemory): WebAssembly.Imports {
  return { env: { memory } };
}

function unsupported(reason: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('unsupported', `wasm: ${reason}`, { cause });
}
