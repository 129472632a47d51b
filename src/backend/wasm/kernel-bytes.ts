/** The two kernel binaries. The build inlines them deflated, as base64 of all their bytes would be a quarter of the package. */
import relaxed from '../../../build/wasm/kernels-relaxed.wasm';
import simd128 from '../../../build/wasm/kernels-simd.wasm';
import { SkipVisionError } from '../errors.ts';

const stored = { simd128, relaxed };
const inflated: Partial<Record<keyof typeof stored, Promise<Uint8Array<ArrayBuffer>>>> = {};

export function kernelBytes(variant: keyof typeof stored): Promise<Uint8Array<ArrayBuffer>> {
  inflated[variant] ??= inflate(stored[variant]);
  return inflated[variant];
}

/** Binaries that start as Wasm does are not deflated: so sources have them. */
async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes[0] === 0 && bytes[1] === 0x61) return bytes;
  if (typeof DecompressionStream !== 'function') throw new SkipVisionError('unsupported', 'wasm: this host has no DecompressionStream');
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
