/** Reading the matrices that `pack` takes, a few rows at a time. Few are blocks of a quantized file, so what reads those is loaded for them. */
import { invalidArgument, show } from './errors.ts';
import type { MatrixReader } from './quantize.ts';
import { checkedElementCount } from './tensor.ts';
import type { Matrix, SourceMatrix } from './weight.ts';

/** Checks a matrix; throws 'invalid-argument' with `argument` for a wrong array. */
export async function readerOf(matrix: SourceMatrix): Promise<MatrixReader> {
  if (typeof matrix !== 'object' || matrix === null) throw notAMatrix(matrix);
  const { shape } = matrix;
  if (!Array.isArray(shape) || shape.length !== 2) throw invalidArgument('pack', 'shape', show(shape), 'a matrix [N, K]');
  const elements = checkedElementCount({ dtype: 'f32', shape }, 'pack');
  return isFloat(matrix) ? floatReader(matrix, elements) : (await import('./block-source.ts')).blockReader(matrix);
}

function isFloat(matrix: SourceMatrix): matrix is Matrix {
  return matrix.format === undefined || matrix.format === 'f32';
}

function notAMatrix(got: unknown) {
  return invalidArgument('pack', 'data', show(got), 'a Float32Array, or the blocks of a quantized file');
}

function floatReader({ data, shape }: Matrix, elements: number): MatrixReader {
  const K = shape[1];
  if (!(data instanceof Float32Array)) throw notAMatrix(data);
  if (data.length !== elements)
    throw invalidArgument('pack', 'shape', `[${shape}] for ${data.length} elements`, 'a matrix [N, K] with N * K elements');
  return { shape, hasZeros: false, rows: (first, count) => data.subarray(first * K, (first + count) * K) };
}
