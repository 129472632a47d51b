/** Operands whose integer products are exact, and the products. */
import type { Random } from '../random.ts';

export type Size = readonly [T: number, K: number, N: number];

/** Integers of -most to most; `end` in every block of 32, so that a scale of 1 follows. */
export function integers(random: Random, rows: number, K: number, most: number, end = most): Float32Array {
  return Float32Array.from({ length: rows * K }, (_, i) => ((i % K) % 32 === 0 ? end : random.below(2 * most + 1) - most));
}

/** ONNX MatMulNBits with every code and zero point, and scales that are powers of two. */
export function matmulNbits(random: Random, N: number, K: number) {
  return {
    format: 'matmul_nbits',
    data: Uint8Array.from({ length: (N * K) / 2 }, () => random.below(256)),
    scales: Float32Array.from({ length: (N * K) / 32 }, () => 2 ** (random.below(4) - 6)),
    zeroPoints: Uint8Array.from({ length: N * Math.ceil(K / 64) }, () => random.below(256)),
    shape: [N, K],
  } as const;
}

/** sum over k of term(x[t][k], w[n][k], t, n, k), as [T, N] in f64; by default x W^T. */
export function sums(
  x: Float32Array,
  w: Float32Array,
  [T, K, N]: Size,
  term = (a: number, b: number, _t: number, _n: number, _k: number) => a * b,
): Float64Array {
  return Float64Array.from({ length: T * N }, (_, i) => {
    const [t, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k++) sum += term(x[t * K + k]!, w[n * K + k]!, t, n, k);
    return sum;
  });
}
