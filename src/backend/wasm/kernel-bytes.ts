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
  const bytes = await inflate(packed);
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

/** By the bare stream: `Response` and `Blob` would read it in a line, but Node loads its whole `fetch` for them, 45 ms of CPU. */
async function inflate(packed: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const { readable, writable } = new DecompressionStream('deflate');
  const writer = writable.getWriter();
  const [chunks] = await Promise.all([chunksOf(readable), writer.write(packed), writer.close()]);
  const all = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all.buffer;
}

async function chunksOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array[]> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
  return chunks;
}
