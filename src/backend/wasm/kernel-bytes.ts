/** The two kernel binaries, which build/compile.ts packs together: base64 of all their bytes would be a quarter of the package. */
import packed from '../../../build/wasm/kernels.deflate';
import { SkipVisionError } from '../errors.ts';

type Binaries = Record<'simd128' | 'relaxed', Uint8Array<ArrayBuffer>>;

/** A block of each binary by turns. */
const BLOCK = 8192;
let unpacked: Promise<Binaries> | undefined;

export async function kernelBytes(variant: keyof Binaries): Promise<Uint8Array<ArrayBuffer>> {
  unpacked ??= unpackBinaries(packed);
  return (await unpacked)[variant];
}

/** The inverse of packBinaries in build/compile.ts. */
export async function unpackBinaries(packed: Uint8Array<ArrayBuffer>): Promise<Binaries> {
  if (typeof DecompressionStream !== 'function') throw new SkipVisionError('unsupported', 'wasm: this host has no DecompressionStream');
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const bytes = await new Response(stream).arrayBuffer();
  const lengths = new DataView(bytes);
  const simd128 = new Uint8Array(lengths.getUint32(0, true));
  const relaxed = new Uint8Array(lengths.getUint32(4, true));
  for (let at = 0, from = 8; from < bytes.byteLength; at += BLOCK) {
    for (const binary of [simd128, relaxed]) {
      const length = Math.min(BLOCK, binary.length - at);
      if (length <= 0) continue; // the other one is longer
      binary.set(new Uint8Array(bytes, from, length), at);
      from += length;
    }
  }
  return { simd128, relaxed };
}
