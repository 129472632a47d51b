/**
 * What the dtypes of a weight mean. Every backend gets its codes and scales from here, so they cannot disagree.
 * f16: nearest even. q8: round(w / scale), of -levels..levels, one f32 scale max|w| / levels to an output; levels is 127, or
 * 63 where a backend's products take 7 bits. q4: (code - zero) * scale, codes 0..15, an f16 scale to 32 inputs; from
 * floats the zero is 8 and the largest weight of a block becomes code 0 (as in GGUF's Q4_0).
 * A NaN or an infinity makes all weights under its scale NaN. Products with them, or with such rows, are NaN or infinite: which of
 * both, and of what sign, depends on the backend.
 */
import { fromF16Bits, toF16Bits } from './f16.ts';

/** Inputs that share a q4 scale. */
export const BLOCK = 32;

/** Rows of 4-bit codes, one byte each, K padded to whole blocks by weights of 0. */
export interface Q4Rows {
  codes: Uint8Array<ArrayBuffer>;
  /** f16 bits, one for each block. */
  scales: Uint16Array<ArrayBuffer>;
  zeros: Uint8Array<ArrayBuffer>;
}

/** A checked matrix. What a call returns may be a view of the source. */
export interface MatrixReader {
  readonly shape: readonly [N: number, K: number];
  /** Whether 4-bit codes of this matrix have zeros other than 8. */
  readonly hasZeros: boolean;
  rows(first: number, count: number): Float32Array;
  /** Of a matrix that is stored so; see `q4Of`. */
  q4?(first: number, count: number): Q4Rows;
}

export interface Q8Rows {
  codes: Int8Array<ArrayBuffer>;
  /** One for each row. */
  scales: Float32Array<ArrayBuffer>;
}

export function blocksOf(K: number): number {
  return Math.ceil(K / BLOCK);
}

export function emptyQ4(count: number, K: number): Q4Rows {
  const blocks = count * blocksOf(K);
  return { codes: new Uint8Array(blocks * BLOCK), scales: new Uint16Array(blocks), zeros: new Uint8Array(blocks).fill(8) };
}

/** `count` rows of K floats. */
export function quantizeQ4(rows: Float32Array, count: number, K: number): Q4Rows {
  const result = emptyQ4(count, K);
  const { codes, scales } = result;
  codes.fill(8);
  let block = 0;
  for (let row = 0; row < count; row++) {
    const end = (row + 1) * K;
    for (let first = row * K; first < end; first += BLOCK, block++) {
      const last = Math.min(first + BLOCK, end);
      const half = toF16Bits(extremeOf(rows, first, last) / -8);
      const scale = fromF16Bits(half);
      scales[block] = half;
      if (!(Math.abs(scale) > 0)) continue;
      const inverse = 1 / scale;
      // A subnormal scale is so coarse that codes leave the range.
      for (let i = first, to = block * BLOCK; i < last; i++, to++) codes[to] = Math.min(15, Math.max(0, rounded(rows[i]! * inverse) + 8));
    }
  }
  return result;
}

/** Rows of any matrix as 4-bit codes. */
export function q4Of(matrix: MatrixReader, first: number, count: number): Q4Rows {
  return matrix.q4?.(first, count) ?? quantizeQ4(matrix.rows(first, count), count, matrix.shape[1]);
}

/** `count` rows of K floats; rows of codes padded to whole blocks. */
export function quantizeQ8(rows: Float32Array, count: number, K: number, levels: 63 | 127): Q8Rows {
  const width = blocksOf(K) * BLOCK;
  const codes = new Int8Array(count * width);
  const scales = new Float32Array(count);
  for (let row = 0; row < count; row++) {
    const [first, last] = [row * K, (row + 1) * K];
    scales[row] = Math.abs(extremeOf(rows, first, last)) / levels;
    const scale = scales[row]!;
    if (!(scale > 0)) continue;
    const inverse = 1 / scale;
    for (let i = first, to = row * width; i < last; i++, to++) codes[to] = Math.max(-levels, Math.min(levels, rounded(rows[i]! * inverse)));
  }
  return { codes, scales };
}

/** The number of largest magnitude, of two the positive one; NaN if there is one. Without branches: four times as fast. */
function extremeOf(numbers: Float32Array, first: number, last: number): number {
  let most = 0;
  let least = 0;
  for (let i = first; i < last; i++) {
    most = Math.max(most, numbers[i]!);
    least = Math.min(least, numbers[i]!);
  }
  return -least > most ? least : most;
}

/** Math.round for numbers above -256. */
function rounded(value: number): number {
  return ((value + 256.5) | 0) - 256;
}

/** What `count` rows of q4 mean, as [count, K]. */
export function meaningOfQ4({ codes, scales, zeros }: Q4Rows, count: number, K: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(count * K);
  const blocks = blocksOf(K);
  for (let row = 0; row < count; row++) {
    for (let k = 0; k < K; k++) {
      const block = row * blocks + Math.floor(k / BLOCK);
      result[row * K + k] = (codes[row * blocks * BLOCK + k]! - zeros[block]!) * fromF16Bits(scales[block]!);
    }
  }
  return result;
}

/** What `count` rows of q8 mean, as [count, K]. */
export function meaningOfQ8({ codes, scales }: Q8Rows, count: number, K: number): Float32Array<ArrayBuffer> {
  const width = blocksOf(K) * BLOCK;
  return Float32Array.from({ length: count * K }, (_, i) => {
    const row = Math.floor(i / K);
    return codes[row * width + (i % K)]! * scales[row]!;
  });
}
