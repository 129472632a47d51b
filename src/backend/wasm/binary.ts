/** Which kernel binary runs here: the relaxed one when it validates and computes right, else plain simd128. */
import relaxedBytes from '../../../build/wasm/kernels-relaxed.wasm';
import simdBytes from '../../../build/wasm/kernels-simd.wasm';
import { SkipVisionError } from '../errors.ts';
import type { WasmKernels } from './binding.ts';
import type { LinearMemory } from './memory.ts';

export type WasmVariant = 'simd128' | 'relaxed';

export interface BinaryOptions {
  /** 'auto' takes relaxed SIMD where it works. Default 'auto'. */
  variant?: WasmVariant | 'auto';
  /** A compiled kernel binary of this package, for hosts that forbid compiling at run time. Decides the variant. */
  wasmModule?: WebAssembly.Module;
}

export interface Binary {
  kernels: WasmKernels;
  variant: WasmVariant;
  /** Why relaxed SIMD is not used, if it was wanted. */
  reason?: string;
}

/** Instantiates the kernels over `linear`. Throws 'unsupported' with a reason where Wasm or SIMD cannot be had. */
export async function loadBinary(linear: LinearMemory, options: BinaryOptions = {}): Promise<Binary> {
  const { variant = 'auto', wasmModule } = options;
  if (wasmModule) return precompiled(wasmModule, linear);
  if (!WebAssembly.validate(simdBytes)) throw unsupported('this WebAssembly has no 128-bit SIMD');
  if (variant === 'simd128') return { kernels: await instantiate(simdBytes, linear), variant };
  const relaxed = await tryRelaxed(linear);
  if ('kernels' in relaxed) return { kernels: relaxed.kernels, variant: 'relaxed' };
  if (variant === 'relaxed') throw unsupported(relaxed.reason);
  return { kernels: await instantiate(simdBytes, linear), variant: 'simd128', reason: relaxed.reason };
}

/** Throws 'unsupported' where the host has no WebAssembly at all, before anything of it is touched. */
export function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object' || typeof WebAssembly.Memory !== 'function') throw unsupported('this host has no WebAssembly');
}

async function tryRelaxed(linear: LinearMemory): Promise<{ kernels: WasmKernels } | { reason: string }> {
  if (!WebAssembly.validate(relaxedBytes)) return { reason: 'this WebAssembly has no relaxed SIMD' };
  const kernels = await instantiate(relaxedBytes, linear);
  return computesRight(kernels, linear) ? { kernels } : { reason: 'relaxed SIMD validates, but gives wrong results on this host' };
}

function precompiled(module: WebAssembly.Module, linear: LinearMemory): Binary {
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exported.has('uses_relaxed_simd')) {
    throw new SkipVisionError('invalid-argument', 'wasmModule is not a kernel binary of this package', { argument: 'wasmModule' });
  }
  const kernels = new WebAssembly.Instance(module, importsOf(linear)).exports as unknown as WasmKernels;
  if (!computesRight(kernels, linear)) throw unsupported('the given wasmModule gives wrong results on this host');
  return { kernels, variant: kernels.uses_relaxed_simd!() ? 'relaxed' : 'simd128' };
}

async function instantiate(bytes: Uint8Array<ArrayBuffer>, linear: LinearMemory): Promise<WasmKernels> {
  try {
    const { instance } = await WebAssembly.instantiate(bytes, importsOf(linear));
    return instance.exports as unknown as WasmKernels;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const hint = /unsafe-eval|content security|disallowed/i.test(message) ? "; its policy must allow 'wasm-unsafe-eval', or give a wasmModule" : '';
    throw unsupported(`this host refuses to compile WebAssembly (${message})${hint}`, cause);
  }
}

function importsOf({ memory }: LinearMemory): WebAssembly.Imports {
  return { env: { memory } };
}

/**
 * Runs the kernels on numbers whose results are exact whether multiply-add is fused or not. Engines have shipped relaxed
 * instructions that validate and compute nonsense in their first tier, so validation alone is not trusted.
 */
function computesRight(kernels: WasmKernels, linear: LinearMemory): boolean {
  const pointer = linear.allocate(16);
  try {
    kernels.fill_f32!(pointer, 4, 3);
    return linear.f32(pointer, 4).every((value) => value === 3);
  } catch {
    return false; // a trap is a wrong result too
  } finally {
    linear.free(pointer);
  }
}

function unsupported(reason: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('unsupported', `wasm: ${reason}`, { cause });
}
