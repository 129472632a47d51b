/**
 * The layout of packed weights, transposed so that neighbouring outputs are neighbours in memory:
 * one matrix [N, K] -> f32 [Kpad][Npad]; gate and up -> f32 [Kpad][Npad / 4][gate 4, up 4], so that one thread owns
 * both of a channel. Padding is zero, so kernels load whole tiles without tests.
 */
import { SkipVisionError } from '../errors.ts';
import type { Pause } from '../backend.ts';
import type { MatrixReader } from '../weight-source.ts';

/** Outputs per tile, and the multiple to which N is padded. */
export const WEIGHT_COLUMNS = 64;
/** Inputs per step of a tile, and the multiple to which K is padded. */
export const WEIGHT_DEPTH = 16;
/** Bytes that are transposed before the thread is given back. */
const CHUNK_BYTES = 4 * 2 ** 20;

export interface WeightShape {
  parts: 1 | 2;
  N: number;
  K: number;
  /** K padded. */
  depth: number;
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Column ranges whose packed form fits a binding. */
export function planSlices(
  matrices: readonly MatrixReader[],
  mostBytes: number,
): { shape: WeightShape; slices: { first: number; count: number; bytes: number }[] } {
  const [N, K] = matrices[0]!.shape;
  const parts = matrices.length as 1 | 2;
  const depth = Math.max(WEIGHT_DEPTH, roundUp(K, WEIGHT_DEPTH));
  const most = Math.floor(mostBytes / (depth * parts * 4) / WEIGHT_COLUMNS) * WEIGHT_COLUMNS;
  if (most === 0) {
    throw new SkipVisionError(
      'out-of-memory',
      `pack: ${WEIGHT_COLUMNS} outputs of ${K} inputs do not fit a binding of ${mostBytes} bytes`,
      {
        op: 'pack',
        argument: 'shape',
        got: `[${N}, ${K}]`,
        expected: `less than ${Math.floor(mostBytes / (WEIGHT_COLUMNS * parts * 4))} inputs`,
      },
    );
  }
  const slices = [];
  for (let first = 0; first < Math.max(N, 1); first += most) {
    const count = Math.min(most, N - first);
    slices.push({ first, count, bytes: Math.max(1, roundUp(count, WEIGHT_COLUMNS) / WEIGHT_COLUMNS) * WEIGHT_COLUMNS * depth * parts * 4 });
  }
  return { shape: { parts, N, K, depth }, slices };
}

/** Transposes columns [first, first + count) and hands over chunk by chunk; other tasks of this thread run between. */
export async function packSlice(
  matrices: readonly Float32Array[],
  { parts, K, depth }: WeightShape,
  { first, count, bytes }: { first: number; count: number; bytes: number },
  write: (byteOffset: number, chunk: Float32Array<ArrayBuffer>) => void,
  pause: Pause,
): Promise<void> {
  const pitch = bytes / 4 / depth;
  const rows = Math.min(depth, Math.max(WEIGHT_DEPTH, Math.floor(CHUNK_BYTES / (pitch * 4) / WEIGHT_DEPTH) * WEIGHT_DEPTH));
  for (let top = 0; top < depth; top += rows) {
    const bottom = Math.min(top + rows, depth);
    const chunk = new Float32Array((bottom - top) * pitch);
    matrices.forEach((data, part) => {
      for (let block = top; block < Math.min(bottom, K); block += WEIGHT_DEPTH) {
        const end = Math.min(block + WEIGHT_DEPTH, K);
        for (let n = 0; n < count; n++) {
          const column = parts === 1 ? n : (n >> 2) * 8 + part * 4 + (n & 3);
          const from = (first + n) * K;
          for (let k = block; k < end; k++) chunk[(k - top) * pitch + column] = data[from + k]!;
        }
      }
    });
    write(top * pitch * 4, chunk);
    if (bottom < depth) await pause((count * parts * (bottom - top)) / depth);
  }
}
