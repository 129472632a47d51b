import assignKernel from '../../kernels/merge.assign.wgsl';
import rankKernel from '../../kernels/merge.rank.wgsl';
import redundancyKernel from '../../kernels/merge.redundancy.wgsl';
import totalKernel from '../../kernels/merge.total.wgsl';
import kernel from '../../kernels/merge.wgsl';
import normKernel from '../../kernels/norm.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { defineOp, idList, input, output, written } from '../backend/op.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';
import { dot } from './dot.ts';

const definition = /* @__PURE__ */ defineOp()({
  name: 'merge',
  attrs: {},
  io: { x: input('N', 'C'), y: output('M', 'C'), destinations: written(idList('M', 'N')), assignment: written(idList('N', 'M')) },
  check({ dims, fail }) {
    if (dims.M > dims.N || (dims.M === 0 && dims.N > 0)) fail('y', `${dims.M} rows`, `1 to ${dims.N} rows`);
  },
  cost: ({ N, M, C }) => ({ flops: 2 * (N - M) * M * C, bytes: 4 * (N + M) * C }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, y, destinations, assignment }, { N, M, C }) => {
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
  for (const [row, token] of kept.entries()) assignment[token] = row;
  for (const source of order.slice(0, N - M)) {
    let best = Number.NEGATIVE_INFINITY;
    assignment[source] = 0; // where no cosine is a number
    for (const [row, token] of kept.entries()) {
      const similarity = dot(unit, source * C, unit, token * C, C);
      if (similarity > best) {
        best = similarity;
        assignment[source] = row;
      }
    }
  }
  const sums = new Float64Array(M * C);
  const counts = new Float64Array(M);
  for (let i = 0; i < N; i++) {
    counts[assignment[i]!]!++;
    for (let c = 0; c < C; c++) sums[assignment[i]! * C + c]! += x[i * C + c]!;
  }
  for (let j = 0; j < M * C; j++) y[j] = sums[j]! / counts[Math.floor(j / C)]!;
};

const wasm: WasmBinding<typeof definition> = ({ kernels, scratch }, { x, y, destinations, assignment }, { N, M, C }) => {
  const units = scratch(4 * N * C);
  const total = scratch(8 * C);
  const redundancy = scratch(8 * N);
  const order = scratch(4 * (N + 1));
  const other = scratch(4 * N);
  const tile = scratch(32);
  kernels.merge_units(x, units, total, N, C);
  kernels.merge_order(units, total, order, destinations, assignment, N, M, C, redundancy, other);
  for (let first = 0; first < N - M; first += 16)
    kernels.merge_assign(units, order, assignment, N, M, C, first, Math.min(first + 16, N - M), tile);
  kernels.merge_mean(x, assignment, y, N, M, C, order, other); // the order has served
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, y, destinations, assignment }, { N, M, C }) => {
  if (N === 0) return;
  const unit = gpu.scratch(4 * Math.max(N * C, 1));
  const total = gpu.scratch(4 * Math.max(C, 1));
  const redundancy = gpu.scratch(4 * N);
  // Rows of one length, the square root of C: their dot products order as their cosines do.
  const rms = { layer: false, hasWeight: false, hasBias: false, eps: 0 };
  gpu.dispatch(normKernel, [x, undefined, undefined, unit], { T: N, D: C, ...rms }, [N]);
  gpu.dispatch(totalKernel, [unit, total], { N, C }, elementGroups(C));
  gpu.dispatch(redundancyKernel, [unit, total, redundancy], { N, C }, [N]);
  gpu.dispatch(rankKernel, [redundancy, destinations, assignment], { N, M }, elementGroups(N));
  gpu.dispatch(assignKernel, [unit, destinations, assignment], { N, M, C }, [Math.ceil(N / 4)]);
  gpu.dispatch(kernel, [x, assignment, y], { N, M, C }, [M * elementGroups(C)[0]]);
};

/**
 * Skip-Vision's token merge (arXiv 2503.21817, released code). With u_i = x_i / |x_i| the redundancy of a token is the
 * sum of its cosines with all others. The M least redundant tokens are destinations, listed by descending redundancy; every
 * other token joins the destination with the largest cosine (the first one on ties); y is the plain mean of a
 * destination and its sources. x [N, C], y [M, C]; destinations [M] are token numbers; assignment [N] is the row of y
 * that a token went into. Redundancies and cosines are f32 sums: near-ties may fall differently on another backend.
 */
export const merge: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const mergeOnWasm: Op<typeof definition> = { definition, wasm };
export const mergeOnWebGpu: Op<typeof definition> = { definition, webgpu };
