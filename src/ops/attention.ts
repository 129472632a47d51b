import combineKernel from '../../kernels/attention.combine.wgsl';
import rowKernel from '../../kernels/attention.row.wgsl';
import tilesKernel from '../../kernels/attention.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import { widened } from '../backend/f16.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, orF16, output, positionList } from '../backend/op.ts';
import { hostList, type Tensor } from '../backend/tensor.ts';
import { elementGroups, perWord } from '../backend/webgpu/binding.ts';
import { dot } from './dot.ts';
import { checkKeys, softmaxRow } from './softmax.ts';

/** So few query rows go through attention.row.wgsl, which shares a row among the invocations of a workgroup. So do heads of no whole vectors. */
const FEW_ROWS = 4;
/** Keys of one workgroup of attention.row.wgsl: few enough that a long cache fills a GPU, enough to be worth joining. */
const SLICE_KEYS = 512;
/** Columns of o of one workgroup of attention.row.wgsl: 4 to an invocation. */
const ROW_COLUMNS = 256;
/** Invocations down of attention.wgsl, largest first; smaller ones are taken until there are so many workgroups. A guess, not measured on GPUs. */
const TILES_DOWN = [16, 8, 4] as const;
const BUSY = 128;

/** Keys at positions [start, end) are invisible to queries at positions >= from (the V-mask of Skip-Vision). */
export type HiddenKeys = readonly [start: number, end: number, from: number];

export interface AttentionAttrs {
  scale: number;
  /** Key j is visible to query i only if kPositions[j] <= qPositions[i]. */
  causal: boolean;
  hiddenKeys?: readonly HiddenKeys[];
}

const slot = field.integer({ min: 0 });

/** Query rows of one Wasm call: they share a pass over K and V, and their logits stay in the second-level cache. */
const WASM_ROWS = 16;
/**
 * Numbers of a key whose heads one Wasm call of a single query reads together, as they lie side by side: a head alone is a few cache
 * lines of each row, which no prefetcher foresees. 128 of the values, which are read by columns, stay in the second-level cache.
 */
const WASM_WIDTH = 1024;

const definition = /* @__PURE__ */ defineOp<AttentionAttrs>()({
  name: 'attention',
  attrs: { scale: field.f32(), causal: field.boolean, hiddenKeys: field.optional(field.list(field.tuple(slot, slot, slot))) },
  io: {
    q: input('T', 'H', 'dh'),
    k: orF16(input('C', 'Hkv', 'dh')),
    v: orF16(input('C', 'Hkv', 'dh')),
    qPositions: positionList('T'),
    kPositions: positionList('S'),
    keyBias: optional(input('S')),
    o: output('T', 'H', 'dh'),
  },
  check({ dims, attrs, fail }) {
    checkKeys(dims, fail);
    for (const block of attrs.hiddenKeys ?? []) if (block[0] > block[1]) fail('hiddenKeys', block, '[start, end, from] with start <= end');
  },
  cost({ T, H, dh, S, Hkv, E }, attrs, io) {
    return { flops: 4 * visiblePairs(io, attrs) * H * dh, bytes: 8 * T * H * dh + 2 * E * S * Hkv * dh };
  },
});

const reference: ReferenceBinding<typeof definition> = (
  { q, k: storedK, v: storedV, qPositions, kPositions, keyBias, o },
  { T, H, dh, Hkv, S },
  { scale, causal, hiddenKeys = [] },
) => {
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
};

const wasm: WasmBinding<typeof definition> = (
  { kernels, u32, ownScratch, share, threads },
  io,
  { T, H, dh, Hkv, S, E },
  { scale, causal, hiddenKeys = [] },
) => {
  const { q, k, v, qPositions, kPositions, keyBias, o } = io;
  const hidden = u32(hiddenKeys.flat().map((position) => Math.min(position, 0xffffffff))); // positions are u32
  const count = hiddenKeys.length;
  const operands = [o, q, k, v, qPositions, kPositions, keyBias, hidden, count] as const;
  const half = Number(E === 2);
  const total = (T * H) / Hkv; // query rows that share a key/value head
  const blocks = Math.ceil(total / WASM_ROWS);
  const heads = T === 1 ? Math.max(1, Math.min(Math.ceil(Hkv / threads), Math.floor(WASM_WIDTH / dh))) : 1;
  const space = ownScratch(kernels.attention_scratch_bytes(heads, Math.min(total, WASM_ROWS), S, dh, count, half));
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
};

const webgpu: GpuBinding<typeof definition> = (
  gpu,
  { q, k, v, qPositions, kPositions, keyBias, o },
  { T, H, dh, Hkv, S, E },
  { scale, causal, hiddenKeys = [] },
) => {
  if (T * H * dh === 0) return;
  const hidden = hiddenKeys.length > 0 ? gpu.upload(Uint32Array.from(hiddenKeys.flat(), (slot) => Math.min(slot, 0xffffffff))) : undefined;
  const params = { T, H, Hkv, dh, S, causal, hiddenCount: hiddenKeys.length, hasBias: !!keyBias, scale };
  const inputs = [q, k, v, qPositions, kPositions, keyBias, hidden];
  if (T > FEW_ROWS && dh % (16 / E) === 0) {
    const workgroups = (NY: number) => Math.ceil((T * H) / Hkv / (4 * NY)) * Hkv * Math.ceil(dh / 128);
    const NY = TILES_DOWN.find((down) => workgroups(down) >= BUSY) ?? TILES_DOWN[TILES_DOWN.length - 1]!;
    gpu.dispatch(tilesKernel, [...inputs, o], params, [workgroups(NY)], { NY, WIDE: dh > 64 ? 1 : 0, ...perWord(E) });
    return;
  }
  const slices = Math.max(1, Math.ceil(S / SLICE_KEYS));
  const parts = slices > 1 ? gpu.scratch(4 * T * H * slices * (dh + 2)) : o;
  const columnGroups = Math.ceil(dh / ROW_COLUMNS);
  gpu.dispatch(rowKernel, [...inputs, parts], params, [T * H * columnGroups * slices], { SLICE_KEYS, ...perWord(E) });
  if (slices > 1) gpu.dispatch(combineKernel, [parts, o], { T, H, dh, slices }, elementGroups(T * H * dh));
};

/**
 * Softmax attention with grouped key/value heads and explicit positions: query head h reads key/value head
 * `floor(h / (H / Hkv))`. q, o [T, H, dh]; k, v [C, Hkv, dh] of which the first S = kPositions.length rows count;
 * keyBias [S] is added to the logits. k and v may be f16, widened exactly. Positions strictly ascend and may have gaps. A query that sees no key gives zeros.
 */
export const attention: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const attentionOnWasm: Op<typeof definition> = { definition, wasm };
export const attentionOnWebGpu: Op<typeof definition> = { definition, webgpu };

export function isVisible(qPosition: number, kPosition: number, causal: boolean, hiddenKeys: readonly HiddenKeys[]): boolean {
  if (causal && kPosition > qPosition) return false;
  return !hiddenKeys.some(([start, end, from]) => start <= kPosition && kPosition < end && qPosition >= from);
}

/**
 * Pairs of query and key that meet. As both lists ascend, one pass over them for every position from which on more keys are hidden.
 * All pairs, an upper bound, where a list was computed on the device.
 */
export function visiblePairs(
  { qPositions, kPositions }: Readonly<Record<'qPositions' | 'kPositions', Tensor<'u32'>>>,
  { causal, hiddenKeys = [] }: Pick<AttentionAttrs, 'causal' | 'hiddenKeys'>,
): number {
  const [queries, keys] = [hostList(qPositions), hostList(kPositions)];
  if (!queries || !keys || (!causal && hiddenKeys.length === 0)) return qPositions.size * kPositions.size;
  if (hiddenKeys.length === 0) return queries.reduce((sum, query) => sum + lowerBound(keys, query + 1), 0);
  const starts = [0, ...new Set(hiddenKeys.map(([, , from]) => from))].sort((a, b) => a - b);
  let pairs = 0;
  let query = 0;
  for (let i = 0; i < starts.length; i++) {
    const next = starts[i + 1] ?? Number.POSITIVE_INFINITY;
    const blocks = hiddenKeys.filter(([, , from]) => from <= starts[i]!);
    let seen = 0; // of the keys before `key`
    let key = 0;
    for (; query < queries.length && queries[query]! < next; query++) {
      for (; key < keys.length && (!causal || keys[key]! <= queries[query]!); key++)
        if (!blocks.some(([start, end]) => start <= keys[key]! && keys[key]! < end)) seen++;
      pairs += seen;
    }
  }
  return pairs;
}

/** How many numbers of an ascending list are below `bound`. */
export function lowerBound(ascending: Uint32Array, bound: number): number {
  let low = 0;
  for (let high = ascending.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
