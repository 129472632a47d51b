import { defineOp, indexOutput, input, output } from '../backend/op.ts';
import { pending } from './pending.ts';

/**
 * Skip-Vision's token merge (arXiv 2503.21817, released code). With u_i = x_i / |x_i| the redundancy of a token is the
 * sum of its cosines with all others. The M least redundant tokens are destinations, listed by descending redundancy; every
 * other token joins the destination with the largest cosine (the first one on ties); y is the plain mean of a
 * destination and its sources. x [N, C], y [M, C]; destinations [M] are token numbers; assignment [N] is the row of y
 * that a token went into. Redundancies and cosines are f32 sums: near-ties may fall differently on another backend.
 */
export const merge = defineOp()({
  name: 'merge',
  io: { x: input('N', 'C'), y: output('M', 'C'), destinations: indexOutput('M'), assignment: indexOutput('N') },
  check({ dims, fail }) {
    if (dims.M > dims.N || (dims.M === 0 && dims.N > 0)) fail('y', `${dims.M} rows`, `1 to ${dims.N} rows`);
  },
  cost: ({ N, M, C }) => ({ flops: 2 * (N - M) * M * C, bytes: 4 * (N + M) * C }),
  reference({ x, y, destinations, assignment }, { N, M, C }) {
    const unit = Float64Array.from(x);
    const total = new Float64Array(C);
    for (let i = 0; i < N; i++) {
      const length = Math.sqrt(dot(unit, i * C, unit, i * C, C));
      for (let c = 0; c < C; c++) total[c]! += unit[i * C + c]! /= length;
    }
    const redundancy = Float64Array.from({ length: N }, (_, i) => dot(unit, i * C, total, 0, C) - 1);
    const order = Array.from({ length: N }, (_, i) => i).sort((a, b) => redundancy[b]! - redundancy[a]! || a - b);
    const kept = order.slice(N - M);
    destinations.set(kept);
    kept.forEach((token, row) => {
      assignment[token] = row;
    });
    for (const source of order.slice(0, N - M)) {
      let best = Number.NEGATIVE_INFINITY;
      kept.forEach((token, row) => {
        const similarity = dot(unit, source * C, unit, token * C, C);
        if (similarity > best) {
          best = similarity;
          assignment[source] = row;
        }
      });
    }
    groupMean(x, assignment, y, N, M, C);
  },
  wasm: pending,
  webgpu: pending,
});

function dot(a: Float64Array, aOffset: number, b: Float64Array, bOffset: number, length: number): number {
  let sum = 0;
  for (let c = 0; c < length; c++) sum += a[aOffset + c]! * b[bOffset + c]!;
  return sum;
}

function groupMean(x: Float32Array, group: Uint32Array, y: Float32Array, N: number, M: number, C: number): void {
  const sums = new Float64Array(M * C);
  const counts = new Float64Array(M);
  for (let i = 0; i < N; i++) {
    counts[group[i]!]!++;
    for (let c = 0; c < C; c++) sums[group[i]! * C + c]! += x[i * C + c]!;
  }
  for (let j = 0; j < M * C; j++) y[j] = sums[j]! / counts[Math.floor(j / C)]!;
}
