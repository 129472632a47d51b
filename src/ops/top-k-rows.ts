import code from '../../kernels/top-k-rows.wgsl';
import { defineOp, indexOutput, input } from '../backend/op.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';

const kernel: GpuKernel = { name: 'top-k-rows', code };

export interface TopKRowsAttrs {
  k: number;
  /** Half-open ranges of rows that stay whatever their score; they do not count towards k. */
  alwaysKeep?: readonly (readonly [start: number, end: number])[];
}

/**
 * The k best rows by score and all rows of `alwaysKeep`, ascending. Larger scores first, equal ones by lower index.
 * scores [N], rows [R] with R = forced rows + k (see `topKCount`). NaN counts as -Infinity.
 */
export const topKRows = defineOp<TopKRowsAttrs>()({
  name: 'top_k_rows',
  attrs: ['k', 'alwaysKeep'],
  io: { scores: input('N'), rows: indexOutput('R') },
  check({ dims, attrs: { k, alwaysKeep = [] }, fail }) {
    for (const [start, end] of alwaysKeep) {
      const valid = Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= dims.N;
      if (!valid) fail('alwaysKeep', `[${start}, ${end})`, `ranges within [0, ${dims.N})`);
    }
    const free = dims.N - topKCount(0, alwaysKeep);
    if (!Number.isInteger(k) || k < 0 || k > free) fail('k', k, `an integer from 0 to ${free}, the rows that are not forced`);
    if (dims.R !== topKCount(k, alwaysKeep)) fail('rows', `[${dims.R}]`, `[${topKCount(k, alwaysKeep)}]`);
  },
  cost: ({ N, R }) => ({ flops: 0, bytes: 4 * (N + R) }),
  reference({ scores, rows }, { N }, { k, alwaysKeep = [] }) {
    const forced = forcedRows(N, alwaysKeep);
    const rank = (row: number) => (Number.isNaN(scores[row]!) ? Number.NEGATIVE_INFINITY : scores[row]!);
    const free = Array.from(scores.keys()).filter((row) => !forced[row]);
    free.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)));
    const kept = [...Array.from(scores.keys()).filter((row) => forced[row]), ...free.slice(0, k)];
    rows.set(kept.sort((a, b) => a - b));
  },
  wasm({ kernels, scratch, u32 }, { scores, rows }, { N }, { k, alwaysKeep = [] }) {
    kernels.top_k_rows!(scores, rows, N, k, u32(alwaysKeep.flat()), alwaysKeep.length, scratch(4 * (N + 256)));
  },
  webgpu(gpu, { scores, rows }, { N, R }, { alwaysKeep = [] }) {
    if (R === 0) return;
    const ranges = alwaysKeep.length > 0 ? gpu.upload(Uint32Array.from(alwaysKeep.flat())) : undefined;
    gpu.dispatch(kernel, [scores, ranges, rows], [N, R, alwaysKeep.length], [1]);
  },
});

/** 1 for every row of the ranges. [N] */
export function forcedRows(N: number, alwaysKeep: readonly (readonly [number, number])[]): Uint32Array {
  const forced = new Uint32Array(N);
  for (const [start, end] of alwaysKeep) forced.fill(1, start, end);
  return forced;
}

/** Rows that `topKRows` returns: k and the union of the ranges. */
export function topKCount(k: number, alwaysKeep: readonly (readonly [number, number])[] = []): number {
  const last = alwaysKeep.reduce((end, range) => Math.max(end, range[1]), 0);
  return k + forcedRows(last, alwaysKeep).reduce((sum, flag) => sum + flag, 0);
}
