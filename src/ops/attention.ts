import combineCode from '../../kernels/attention.combine.wgsl';
import rowCode from '../../kernels/attention.row.wgsl';
import valuesCode from '../../kernels/attention.values.wgsl';
import weightsCode from '../../kernels/attention.weights.wgsl';
import code from '../../kernels/attention.wgsl';
import keysCode from '../../kernels/attention.keys.wgsl';
import { widened } from '../backend/f16.ts';
import { defineOp, type Io, input, optional, orF16, output, positionList } from '../backend/op.ts';
import { f32, type GpuKernel, perWord } from '../backend/webgpu/binding.ts';
import { elementGroups, rowThreads } from '../backend/webgpu/threads.ts';
import { dot } from './dot.ts';

const tilesKernel: GpuKernel = { name: 'attention', code: keysCode + code };
const weightsKernel: GpuKernel = { name: 'attention.weights', code: keysCode + weightsCode };
const valuesKernel: GpuKernel = { name: 'attention.values', code: keysCode + valuesCode };
const rowKernel: GpuKernel = { name: 'attention.row', code: rowCode };
const combineKernel: GpuKernel = { name: 'attention.combine', code: combineCode };
/** So few query rows go through attention.row.wgsl, which shares a row among the invocations of a workgroup. So do heads of no whole vectors. */
const FEW_ROWS = 4;
/** Keys of one workgroup of attention.row.wgsl: few enough that a long cache fills a GPU, enough to be worth joining. */
const SLICE_KEYS = 512;
/** Invocations down of attention.wgsl, largest first; smaller ones are taken until there are so many workgroups. A guess, not measured on GPUs. */
const TILES_DOWN = [16, 8, 4] as const;
const BUSY = 128;
/** Weights of a block of query rows on software adapters, where these are enough for one workgroup of WEIGHTS_PAIRS pairs of a row and a head. */
const WEIGHTS_BYTES = 2 ** 24;
const WEIGHTS_PAIRS = 32;

/** Keys at positions [start, end) are invisible to queries at positions >= from (the V-mask of Skip-Vision). */
export type HiddenKeys = readonly [start: number, end: number, from: number];

export interface AttentionAttrs {
  scale: number;
  /** Key j is visible to query i only if kPositions[j] <= qPositions[i]. */
  causal: boolean;
  hiddenKeys?: readonly HiddenKeys[];
}

const signature = {
  q: input('T', 'H', 'dh'),
  k: orF16(input('C', 'Hkv', 'dh')),
  v: orF16(input('C', 'Hkv', 'dh')),
  qPositions: positionList('T'),
  kPositions: positionList('S'),
  keyBias: optional(input('S')),
  o: output('T', 'H', 'dh'),
};

/** Query rows of one Wasm call: they share a pass over K and V, and their logits stay in the second-level cache. */
const WASM_ROWS = 16;
/**
 * Numbers of a key whose heads one Wasm call of a single query reads together, as they lie side by side: a head alone is a few cache
 * lines of each row, which no prefetcher foresees. 128 of the values, which are read by columns, stay in the second-level cache.
 */
const WASM_WIDTH = 1024;

/**
 * Softmax attention with grouped key/value heads and explicit positions: query head h reads key/value head
 * `floor(h / (H / Hkv))`. q, o [T, H, dh]; k, v [C, Hkv, dh] of which the first S = kPositions.length rows count;
 * keyBias [S] is added to the logits. k and v may be f16, widened exactly. Positions strictly ascend and may have gaps. A query that sees no key gives zeros.
 */
export const attention = defineOp<AttentionAttrs>()({
  name: 'attention',
  attrs: ['scale', 'causal', 'hiddenKeys'],
  io: signature,
  check({ dims, attrs, fail }) {
    checkHeads(dims.H, dims.Hkv, fail);
    if (dims.S > dims.C) fail('kPositions', `[${dims.S}]`, `at most the ${dims.C} rows of k`);
    if (!Number.isFinite(attrs.scale)) fail('scale', attrs.scale, 'a finite number');
    for (const [start, end, from] of attrs.hiddenKeys ?? []) {
      const valid = [start, end, from].every((slot) => Number.isInteger(slot) && slot >= 0) && start <= end;
      if (!valid) fail('hiddenKeys', `[${start}, ${end}, ${from}]`, 'non-negative integers [start, end, from] with start <= end');
    }
  },
  cost({ T, H, dh, S, Hkv, E }, attrs, io) {
    return { flops: 4 * visiblePairs(io, attrs) * H * dh, bytes: 8 * T * H * dh + 2 * E * S * Hkv * dh };
  },
  reference({ q, k: storedK, v: storedV, qPositions, kPositions, keyBias, o }, { T, H, dh, Hkv, S }, { scale, causal, hiddenKeys = [] }) {
    const group = H / Hkv;
    const [k, v] = [widened(storedK), widened(storedV)];
    const weights = new Float64Array(S);
    const sum = new Float64Array(dh);
    for (let t = 0; t < T; t++) {
      for (let h = 0; h < H; h++) {
        const kv = Math.floor(h / group);
        const query = (t * H + h) * dh;
        softmaxRow(weights, (s) => {
          if (!isVisible(qPositions[t]!, kPositions[s]!, causal, hiddenKeys)) return undefined;
          return scale * dot(q, query, k, (s * Hkv + kv) * dh, dh) + (keyBias ? keyBias[s]! : 0);
        });
        sum.fill(0);
        for (let s = 0; s < S; s++) {
          if (weights[s] === 0) continue; // an invisible key must not add 0 * infinity
          for (let c = 0; c < dh; c++) sum[c]! += weights[s]! * v[(s * Hkv + kv) * dh + c]!;
        }
        o.set(sum, query);
      }
    }
  },
  wasm({ u32, ownScratch, share, threads }, io, { T, H, dh, Hkv, S, E }, { scale, causal, hiddenKeys = [] }) {
    const { q, k, v, qPositions, kPositions, keyBias, o } = io;
    const hidden = u32(hiddenKeys.flat().map((position) => Math.min(position, 0xffffffff))); // positions are u32
    const count = hiddenKeys.length;
    const operands = [o, q, k, v, qPositions, kPositions, keyBias, hidden, count];
    const half = Number(E === 2);
    const total = (T * H) / Hkv; // query rows that share a key/value head
    const blocks = Math.ceil(total / WASM_ROWS);
    const heads = T === 1 ? Math.max(1, Math.min(Math.ceil(Hkv / threads), Math.floor(WASM_WIDTH / dh))) : 1;
    const space = ownScratch(
      4 * (Math.max(WASM_ROWS, heads * Math.min(total, WASM_ROWS)) * (S + 3 + dh + 4) + 2 * (dh + 3) + 3 * count + half * 128 * dh),
    );
    share({
      kernel: 'attention',
      calls: Math.ceil(Hkv / heads) * blocks,
      work: 2 * T * H * S * dh,
      own: { ...space, argument: 20 },
      args(call) {
        const first = (call % blocks) * WASM_ROWS;
        const rows = Math.min(WASM_ROWS, total - first);
        const kv = Math.floor(call / blocks) * heads;
        return [...operands, kv, Math.min(heads, Hkv - kv), first, rows, S, H, Hkv, dh, scale, Number(causal), half, space.pointer];
      },
    });
  },
  webgpu(gpu, { q, k, v, qPositions, kPositions, keyBias, o }, { T, H, dh, Hkv, S, E }, { scale, causal, hiddenKeys = [] }) {
    if (T * H * dh === 0) return;
    const hidden =
      hiddenKeys.length > 0 ? gpu.upload(Uint32Array.from(hiddenKeys.flat(), (slot) => Math.min(slot, 0xffffffff))) : undefined;
    const params = [T, H, Hkv, dh, S, causal ? 1 : 0, hiddenKeys.length, keyBias ? 1 : 0, f32(scale)];
    const inputs = [q, k, v, qPositions, kPositions, keyBias, hidden];
    if (T > FEW_ROWS && dh % (16 / E) === 0) {
      if (!gpu.features.has('software-adapter')) {
        const workgroups = (NY: number) => Math.ceil((T * H) / Hkv / (4 * NY)) * Hkv * Math.ceil(dh / 128);
        const NY = TILES_DOWN.find((down) => workgroups(down) >= BUSY) ?? TILES_DOWN[TILES_DOWN.length - 1]!;
        const constants = { NY, WIDE: dh > 64 ? 1 : 0, ...perWord(E) };
        gpu.dispatch(tilesKernel, [...inputs, o], [...params, 0, T], [workgroups(NY)], constants);
        return;
      }
      const pitch = 2 * Math.ceil(S / 8) + 1; // vec4 of a row of weights
      const block = Math.min(T, Math.max(Math.ceil((WEIGHTS_PAIRS * Hkv) / H), Math.floor(WEIGHTS_BYTES / (16 * H * pitch))));
      const weights = gpu.scratch(16 * block * H * pitch);
      for (let start = 0; start < T; start += block) {
        const count = Math.min(block, T - start);
        const pairs = (count * H) / Hkv;
        const sizes = [...params, start, count];
        gpu.dispatch(
          weightsKernel,
          [q, k, qPositions, kPositions, keyBias, hidden, weights],
          sizes,
          [Math.ceil(pairs / WEIGHTS_PAIRS) * Hkv],
          perWord(E),
        );
        gpu.dispatch(
          valuesKernel,
          [weights, v, qPositions, kPositions, hidden, o],
          sizes,
          [Math.ceil(pairs / 8) * Hkv * Math.ceil(dh / 64)],
          perWord(E),
        );
      }
      return;
    }
    const slices = Math.max(1, Math.ceil(S / SLICE_KEYS));
    const parts = slices > 1 ? gpu.scratch(4 * T * H * slices * (dh + 2)) : o;
    const THREADS = 2 * rowThreads(gpu, 32);
    const columnGroups = Math.ceil(dh / (4 * THREADS)); // 4 columns per invocation
    gpu.dispatch(rowKernel, [...inputs, parts], [...params, slices, SLICE_KEYS], [T * H * columnGroups * slices], {
      THREADS,
      ...perWord(E),
    });
    if (slices > 1) gpu.dispatch(combineKernel, [parts, o], [T * H * dh, dh, slices], elementGroups(T * H * dh));
  },
});

export function checkHeads(H: number, Hkv: number, fail: (argument: string, got: unknown, expected: string) => never): void {
  if (Hkv === 0 || H % Hkv !== 0) fail('k', `${Hkv} key/value heads`, `a divisor of the ${H} query heads`);
}

export function isVisible(qPosition: number, kPosition: number, causal: boolean, hiddenKeys: readonly HiddenKeys[]): boolean {
  if (causal && kPosition > qPosition) return false;
  return !hiddenKeys.some(([start, end, from]) => start <= kPosition && kPosition < end && qPosition >= from);
}

/** Softmax over the keys for which `logit` is defined; zeros elsewhere, and everywhere when there is none. */
export function softmaxRow(out: Float64Array, logit: (key: number) => number | undefined): void {
  let peak = Number.NEGATIVE_INFINITY;
  const logits = Array.from(out, (_, key) => logit(key));
  for (const value of logits) if (value !== undefined && !(value <= peak)) peak = value;
  const weights = logits.map((value) => (value === undefined ? 0 : Math.exp(value - peak)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // an invisible key stays 0 also when the total is NaN
  logits.forEach((value, key) => {
    out[key] = value === undefined || total === 0 ? 0 : weights[key]! / total;
  });
}

/** Pairs of query and key that meet, counted from the position lists. */
function visiblePairs(io: Io<typeof signature>, { causal, hiddenKeys = [] }: AttentionAttrs): number {
  const queries = io.qPositions.storage.host!.subarray(0, io.qPositions.size);
  const keys = io.kPositions.storage.host!.subarray(0, io.kPositions.size);
  if (!causal && hiddenKeys.length === 0) return queries.length * keys.length;
  let pairs = 0;
  for (const query of queries) for (const key of keys) if (isVisible(query, key, causal, hiddenKeys)) pairs++;
  return pairs;
}
