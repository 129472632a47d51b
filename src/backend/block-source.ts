/** Reading the matrices of quantized files, a few rows at a time. */
import { invalidArgument, show } from './errors.ts';
import { fromF16Bits, toF16Bits } from './f16.ts';
import { BLOCK, blocksOf, emptyQ4, type MatrixReader, meaningOfQ4, type Q4Rows } from './quantize.ts';
import type { BlockMatrix, NbitsMatrix } from './weight.ts';

/** Bytes of 32 weights of a row. */
const BLOCK_BYTES = { q4_0: 18, q8_0: 34, matmul_nbits: 16 } as const;

/** Throws 'invalid-argument' with the argument that is wrong. */
export function blockReader(matrix: BlockMatrix): MatrixReader {
  const { shape } = matrix;
  const bytesOf = BLOCK_BYTES[matrix.format];
  if (!Object.hasOwn(BLOCK_BYTES, matrix.format))
    throw invalidArgument('pack', 'format', show(matrix.format), `one of f32, ${Object.keys(BLOCK_BYTES).join(', ')}`);
  const [N, K] = shape;
  if (K % BLOCK) throw invalidArgument('pack', 'shape', `[${shape}]`, `K a multiple of ${BLOCK} for ${matrix.format}`);
  const blocks = N * blocksOf(K);
  expectLength('data', matrix.data, Uint8Array, blocks * bytesOf, matrix);
  if (matrix.format === 'q8_0') return q8Reader(shape, matrix.data);
  if (matrix.format !== 'matmul_nbits') return q4Reader(shape, false, (block, out, at) => readQ4_0(matrix.data, block, out, at));
  const { scales, zeroPoints } = matrix;
  expectLength('scales', scales, Float32Array, blocks, matrix);
  if (zeroPoints) expectLength('zeroPoints', zeroPoints, Uint8Array, N * Math.ceil(blocksOf(K) / 2), matrix);
  return nbitsReader(matrix);
}

/** `read` unpacks block `block` of the matrix into block `at` of `out`. */
function q4Reader(
  shape: MatrixReader['shape'],
  hasZeros: boolean,
  read: (block: number, out: Q4Rows, at: number) => void,
): Required<MatrixReader> {
  const K = shape[1];
  const blocks = blocksOf(K);
  const q4 = (first: number, count: number) => {
    const out = emptyQ4(count, K);
    for (let i = 0; i < count * blocks; i++) read(first * blocks + i, out, i);
    return out;
  };
  return { shape, hasZeros, q4, rows: (first, count) => meaningOfQ4(q4(first, count), count, K) };
}

/** f16 scale, then 16 bytes: weights 0-15 in the low nibbles, 16-31 in the high ones. */
function readQ4_0(data: Uint8Array, block: number, out: Q4Rows, at: number): void {
  const from = block * BLOCK_BYTES.q4_0;
  out.scales[at] = data[from]! | (data[from + 1]! << 8);
  for (let i = 0; i < 16; i++) {
    const byte = data[from + 2 + i]!;
    out.codes[at * BLOCK + i] = byte & 15;
    out.codes[at * BLOCK + i + 16] = byte >> 4;
  }
}

/** f16 scale, then 32 int8. */
function q8Reader(shape: MatrixReader['shape'], data: Uint8Array): MatrixReader {
  const K = shape[1];
  const rows = (first: number, count: number) => {
    const out = new Float32Array(count * K);
    let from = first * blocksOf(K) * BLOCK_BYTES.q8_0;
    for (let to = 0; to < out.length; from += BLOCK_BYTES.q8_0) {
      const scale = fromF16Bits(data[from]! | (data[from + 1]! << 8));
      for (let i = 2; i < 34; i++) out[to++] = ((data[from + i]! << 24) >> 24) * scale;
    }
    return out;
  };
  return { shape, hasZeros: false, rows };
}

/** Weight 2i in the low nibble of byte i, 2i + 1 in the high one; zero points likewise along the blocks of a row. */
function nbitsReader({ data, scales, zeroPoints, shape }: NbitsMatrix): MatrixReader {
  const K = shape[1];
  const blocks = blocksOf(K);
  const zeroRow = Math.ceil(blocks / 2);
  const reader = q4Reader(shape, zeroPoints !== undefined, (block, out, at) => {
    out.scales[at] = toF16Bits(scales[block]!);
    const column = block % blocks;
    if (zeroPoints) out.zeros[at] = (zeroPoints[((block - column) / blocks) * zeroRow + (column >> 1)]! >> (4 * (column & 1))) & 15;
    for (let i = 0; i < 16; i++) {
      const byte = data[block * 16 + i]!;
      out.codes[at * BLOCK + 2 * i] = byte & 15;
      out.codes[at * BLOCK + 2 * i + 1] = byte >> 4;
    }
  });
  // As floats the scales keep their f32.
  const rows = (first: number, count: number) => {
    const { codes, zeros } = reader.q4(first, count);
    return Float32Array.from(codes, (code, i) => (code - zeros[i >> 5]!) * scales[first * blocks + (i >> 5)]!);
  };
  return { ...reader, rows };
}

function expectLength(
  argument: string,
  array: unknown,
  kind: Uint8ArrayConstructor | Float32ArrayConstructor,
  length: number,
  { format, shape }: BlockMatrix,
): void {
  if (array instanceof kind && array.length === length) return;
  const got = array instanceof kind ? `${array.length} elements` : show(array);
  throw invalidArgument('pack', argument, got, `a ${kind.name} of ${length} elements for ${format} [${shape}]`);
}
