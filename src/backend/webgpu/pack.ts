/**
 * The layout of packed weights: panels of 64 columns, which lie one after the other; a panel is rows of 16 vectors of 4
 * columns. Gate and up take turns, 4 columns of each, so that one thread owns both of a channel. A vector is
 * f32, f16: 4 weights of a depth, [K padded to 16] rows;
 * q8: 4 words of 4 depths, [blocks of 32 depths][8] rows; then one row of f32 scales;
 * q4: 4 words of 8 depths, the second 4 in the high nibbles, [blocks][4] rows; then the f16 scales of 2 blocks to a row;
 *     where a zero is not 8, then the zeros of 4 blocks to a row, a byte each.
 * Padding is zero, so kernels load whole tiles without tests. kernels/weight.*.wgsl read it.
 */
import { SkipVisionError } from '../errors.ts';
import type { Pause } from '../backend.ts';
import { toF16Bits } from '../f16.ts';
import { BLOCK, blocksOf, type MatrixReader, q4Of, quantizeQ8 } from '../quantize.ts';
import type { WeightDType } from '../weight.ts';

/** Outputs per tile, and the multiple to which N is padded: the columns of a panel. */
export const WEIGHT_COLUMNS = 64;
/** Inputs per step of a tile, and the multiple to which K is padded. */
export const WEIGHT_DEPTH = 16;
/** Bytes of floats that are packed before the thread is given back. */
const CHUNK_BYTES = 4 * 2 ** 20;

export interface WeightShape {
  dtype: WeightDType;
  /** Whether zeros are stored. */
  zeros: boolean;
  parts: 1 | 2;
  N: number;
  K: number;
  panelBytes: number;
}

export interface Slice {
  first: number;
  count: number;
  bytes: number;
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Rows of codes, of scales and of zeros in a panel of integers. */
function rowsOf(dtype: WeightDType, K: number, zeros: boolean): [codes: number, scales: number, zeros: number] {
  const blocks = blocksOf(K);
  return dtype === 'q8' ? [8 * blocks, 1, 0] : [4 * blocks, Math.ceil(blocks / 2), zeros ? Math.ceil(blocks / 4) : 0];
}

function bytesOfPanel(dtype: WeightDType, K: number, zeros: boolean): number {
  if (dtype === 'f32' || dtype === 'f16') return roundUp(K, WEIGHT_DEPTH) * WEIGHT_COLUMNS * (dtype === 'f32' ? 4 : 2);
  return rowsOf(dtype, K, zeros).reduce((sum, rows) => sum + rows) * WEIGHT_COLUMNS * 4;
}

/** Column ranges whose packed form fits a binding. */
export function planSlices(
  matrices: readonly MatrixReader[],
  dtype: WeightDType,
  mostBytes: number,
): { shape: WeightShape; slices: Slice[] } {
  const [N, K] = matrices[0]!.shape;
  const parts = matrices.length as 1 | 2;
  const zeros = dtype === 'q4' && matrices.some(({ hasZeros }) => hasZeros);
  const panelBytes = bytesOfPanel(dtype, K, zeros);
  const most = Math.floor(mostBytes / Math.max(1, panelBytes * parts)) * WEIGHT_COLUMNS;
  if (most === 0) {
    const expected = `less than ${Math.floor((mostBytes / (panelBytes * parts)) * K)} inputs`;
    const message = `pack: ${WEIGHT_COLUMNS} outputs of ${K} inputs do not fit a binding of ${mostBytes} bytes`;
    throw new SkipVisionError('out-of-memory', message, { op: 'pack', argument: 'shape', got: `[${N}, ${K}]`, expected });
  }
  const slices = [];
  for (let first = 0; first < Math.max(N, 1); first += most) {
    const count = Math.min(most, N - first);
    slices.push({ first, count, bytes: Math.ceil(count / WEIGHT_COLUMNS) * panelBytes * parts });
  }
  return { shape: { dtype, zeros, parts, N, K, panelBytes }, slices };
}

/** Packs columns [first, first + count) and hands over chunk by chunk; other tasks of this thread run between. */
export async function packSlice(
  matrices: readonly MatrixReader[],
  shape: WeightShape,
  { first, count }: Slice,
  write: (byteOffset: number, chunk: Uint32Array) => void,
  pause: Pause,
): Promise<void> {
  const { parts, K, panelBytes } = shape;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / (Math.max(K, 1) * parts * 4 * WEIGHT_COLUMNS))) * WEIGHT_COLUMNS;
  for (let top = 0; top < count; top += step) {
    const columns = Math.min(step, count - top);
    const chunk = new ArrayBuffer(Math.ceil(columns / WEIGHT_COLUMNS) * panelBytes * parts);
    const pack = shape.dtype === 'q8' ? packQ8 : shape.dtype === 'q4' ? packQ4 : packFloats;
    for (const [part, matrix] of matrices.entries()) pack(matrix, shape, part, first + top, columns, chunk);
    write((top / WEIGHT_COLUMNS) * panelBytes * parts, new Uint32Array(chunk));
    if (top + columns < count) await pause(columns * parts);
  }
}

/** Byte at which the panel of column n begins, and the place of n in it. */
function placeOf(n: number, part: number, { parts, panelBytes }: WeightShape): [start: number, lane: number] {
  const column = parts === 1 ? n : (n >> 2) * 8 + part * 4 + (n & 3);
  return [Math.floor(column / WEIGHT_COLUMNS) * panelBytes, column % WEIGHT_COLUMNS];
}

function packFloats(matrix: MatrixReader, shape: WeightShape, part: number, first: number, count: number, chunk: ArrayBuffer): void {
  const { dtype, K } = shape;
  const half = dtype === 'f16';
  const out = half ? new Uint16Array(chunk) : new Float32Array(chunk);
  const rows = matrix.rows(first, count);
  for (let n = 0; n < count; n++) {
    const [start, lane] = placeOf(n, part, shape);
    let to = start / out.BYTES_PER_ELEMENT + lane;
    for (let from = n * K; from < (n + 1) * K; from++, to += WEIGHT_COLUMNS) out[to] = half ? toF16Bits(rows[from]!) : rows[from]!;
  }
}

function packQ8(matrix: MatrixReader, shape: WeightShape, part: number, first: number, count: number, chunk: ArrayBuffer): void {
  const { codes, scales } = quantizeQ8(matrix.rows(first, count), count, shape.K, 127);
  const out = new Uint32Array(chunk);
  const floats = new Float32Array(chunk);
  const words = new Uint32Array(codes.buffer);
  const width = words.length / count;
  for (let n = 0; n < count; n++) {
    const [start, lane] = placeOf(n, part, shape);
    let to = start / 4 + lane;
    for (let from = n * width; from < (n + 1) * width; from++, to += WEIGHT_COLUMNS) out[to] = words[from]!;
    floats[to] = scales[n]!;
  }
}

function packQ4(matrix: MatrixReader, shape: WeightShape, part: number, first: number, count: number, chunk: ArrayBuffer): void {
  const { codes, scales, zeros } = q4Of(matrix, first, count);
  const out = new Uint32Array(chunk);
  const halves = new Uint16Array(chunk);
  const bytes = new Uint8Array(chunk);
  const words = new Uint32Array(codes.buffer);
  const blocks = blocksOf(shape.K);
  const width = (blocks * BLOCK) / 4;
  const [, scaleRows] = rowsOf('q4', shape.K, shape.zeros);
  for (let n = 0; n < count; n++) {
    const [start, lane] = placeOf(n, part, shape);
    let to = start / 4 + lane;
    for (let from = n * width; from < (n + 1) * width; from += 2, to += WEIGHT_COLUMNS) out[to] = words[from]! | (words[from + 1]! << 4);
    const [quad, column] = [lane >> 2, lane & 3];
    const scaleAt = (to - lane) * 2 + quad * 8 + column;
    const zeroAt = (to - lane + scaleRows * WEIGHT_COLUMNS) * 4 + quad * 16 + column;
    for (let block = 0; block < blocks; block++) {
      halves[scaleAt + (block >> 1) * 2 * WEIGHT_COLUMNS + (block & 1) * 4] = scales[n * blocks + block]!;
      if (shape.zeros) bytes[zeroAt + (block >> 2) * 4 * WEIGHT_COLUMNS + (block & 3) * 4] = zeros[n * blocks + block]!;
    }
  }
}
