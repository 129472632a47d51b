/** The attention half of a block: x += o(attention(norm1(x))). */
import type { FloatDType, Tensor } from '../../backend/tensor.ts';
import { attention, type HiddenKeys, lowerBound } from '../../ops/attention.ts';
import { attentionScores } from '../../ops/attention-scores.ts';
import { layerNorm } from '../../ops/layer-norm.ts';
import { linear } from '../../ops/linear.ts';
import { ropeAppend } from '../../ops/rope-append.ts';
import type { Block } from './block.ts';
import type { Plan, Seen } from './hooks.ts';
import type { KvCache } from './kv-cache.ts';
import type { Ranks } from './ranks.ts';
import type { Rotation } from './rotation.ts';
import { otherRows } from './rows.ts';
import { Scope, type Work } from './work.ts';

export interface Attending {
  layer: number;
  /** Changed in place. */
  x: Tensor<'f32'>;
  /** Of the rows of x; where they were chosen on the device, what makes it there for the cache. */
  order: Uint32Array | (() => Tensor<'u32'>);
  rotation: Rotation | undefined;
  /** Rows that get a result, ascending; the others give keys and values only. Default all. */
  queries?: Uint32Array | undefined;
  plan: Plan;
  /** Rows whose keys and values the cache does not keep. */
  evicted?: Uint32Array | undefined;
  cache?: KvCache | undefined;
  chunkSize?: number | undefined;
  ranks: Ranks;
}

/** Queries [Q, H, dh], and where keys and values [C, Hkv, dh] of the rows of the stream go: from row `from` on. */
interface Projected<D extends FloatDType = 'f32'> {
  q: Tensor<'f32'>;
  k: Tensor<D>;
  v: Tensor<D>;
  from: number;
}

/** What was seen: its tensors are freed with it. `settle` leaves the cache with the rows it keeps, and what was seen with fewer. */
export type Attended = Seen & Disposable & { settle(): void };

export async function attendRows(work: Work, block: Block, run: Attending): Promise<Attended> {
  const { x, queries, ranks } = run;
  const { spec } = block;
  const n = x.shape[0]!;
  const size = queries?.length ?? n;
  using scope = new Scope();
  const scratch = (shape: readonly number[]) => scope.keep(work.backend.empty({ dtype: 'f32', shape }));
  const o = scratch([size, spec.heads * spec.headDim]);
  const { q, k, v, from, settle } = await projectRows(work, block, run, scratch);
  const kPositions = ranks.between(0, from + n);
  const { keyBias } = run.plan;
  const attrs = { scale: spec.headDim ** -0.5, causal: spec.causal };
  const hiddenKeys = run.plan.hiddenKeys && hiddenRanks(run.plan.hiddenKeys, run, from);
  const perHead = (rows: Tensor<'f32'>) => rows.view([rows.shape[0]!, spec.heads, spec.headDim]);
  for (const [start, end] of chunksOf(size, run.chunkSize)) {
    using listed = queries && work.backend.upload(queries.slice(start, end));
    using ranked = queries && work.backend.upload(queries.slice(start, end).map((row) => from + row));
    const qPositions = ranked ?? ranks.between(from + start, from + end);
    const out = rowsOfChunk(o, start, end);
    const io = { q: rowsOfChunk(q, start, end), k, v, qPositions, kPositions, keyBias, o: perHead(out) };
    work.run(attention, io, { ...attrs, hiddenKeys });
    work.run(linear, { x: out, ...block.o, outRows: listed, y: listed ? x : rowsOfChunk(x, start, end) }, { accumulate: true });
    if (end < size) await work.rest(end - start);
  }
  const scores: Seen['scores'] = (row, reduce) => {
    const one = q.slice(row, row + 1).view([spec.heads, spec.headDim]);
    return work.produce([from + n], (y) =>
      work.run(attentionScores, { q: one, k, kPositions, keyBias, scores: y }, { ...attrs, qPosition: from + row, reduce }),
    );
  };
  const made = scope.move();
  return { q, k, v, keys: from + n, o, scores, settle, [Symbol.dispose]: () => made[Symbol.dispose]() };
}

/**
 * Queries, and keys and values where they are looked at. That is the cache itself, but a memory of their own (`scratch`) where there
 * is none, where blocks do not rotate, where an empty cache is not to hold all rows, and before one of f16 has rounded them. `settle`
 * leaves the cache with the rows it keeps.
 */
async function projectRows(
  work: Work,
  block: Block,
  run: Attending,
  scratch: (shape: readonly number[]) => Tensor<'f32'>,
): Promise<Projected<FloatDType> & { settle(): void }> {
  const { cache, layer, x, queries, evicted } = run;
  const { heads, kvHeads, headDim } = block.spec;
  const n = x.shape[0]!;
  const q = scratch([queries?.length ?? n, heads, headDim]);
  const order = () => (typeof run.order === 'function' ? run.order() : run.order);
  const held = cache?.length(layer) ?? 0;
  const kept = evicted?.length ? otherRows(evicted, n) : undefined;
  const settle = () => {
    if (!kept) return;
    const dropped = evicted!.map((row) => held + row);
    cache!.compact(layer, otherRows(dropped, held + n));
  };
  if (cache && run.rotation && cache.dtype === 'f32' && (held > 0 || !kept)) {
    cache.extend(layer, order());
    const [k, v] = [cache.keys(layer) as Tensor<'f32'>, cache.values(layer) as Tensor<'f32'>];
    await project(work, block, run, { q, k, v, from: held });
    return { q, k, v, from: held, settle };
  }
  const [k, v] = [scratch([n, kvHeads, headDim]), scratch([n, kvHeads, headDim])];
  await project(work, block, run, { q, k, v, from: 0 });
  if (held === 0) return { q, k, v, from: 0, settle: () => cache?.append(layer, k, v, order(), kept) };
  cache!.append(layer, k, v, order());
  return { q, k: cache!.keys(layer), v: cache!.values(layer), from: held, settle };
}

/** norm1(x) Wq, Wk and Wv, rotated where the block rotates. */
async function project(work: Work, block: Block, { x, rotation, queries, chunkSize }: Attending, to: Projected): Promise<void> {
  const { spec, norm1 } = block;
  const { kvHeads, headDim, eps } = spec;
  const n = x.shape[0]!;
  using rows = queries && work.backend.upload(queries);
  // Queries that are listed are few: they run with the keys and values of all rows.
  for (const [start, end] of chunksOf(n, queries ? n : chunkSize)) {
    const count = end - start;
    const part = rowsOfChunk(x, start, end);
    using normed =
      spec.norm === 'layer' ? work.produce(part.shape, (y) => work.run(layerNorm, { x: part, ...norm1, y }, { eps })) : undefined;
    const from = normed ? { x: normed } : { x: part, normWeight: norm1.weight };
    const attrs = normed ? {} : { eps };
    const flat = (y: Tensor<'f32'>) => y.view([y.shape[0]!, y.shape[1]! * y.shape[2]!]);
    const q = queries ? to.q : rowsOfChunk(to.q, start, end);
    work.run(linear, { ...from, ...block.q, rows, y: flat(q) }, attrs);
    if (rotation) {
      using kv = work.produce([count, 2 * kvHeads * headDim], (y) => work.run(linear, { ...from, ...block.kv!, y }, attrs));
      const [cos, sin] = [rowsOfChunk(rotation.cos, start, end), rowsOfChunk(rotation.sin, start, end)];
      const io = { q, kv: kv.view([count, 2 * kvHeads, headDim]), cos, sin, rows, k: to.k, v: to.v };
      work.run(ropeAppend, io, { layout: spec.rope!.layout, at: to.from + start });
    } else {
      work.run(linear, { ...from, ...block.k!, y: flat(to.k.slice(start, end)) }, attrs);
      work.run(linear, { ...from, ...block.v!, y: flat(to.v.slice(start, end)) }, attrs);
    }
    if (end < n) await work.rest(count);
  }
}

/** A row of decoding is all there is: it needs no view of its own, of which there would be seven in a layer. */
function rowsOfChunk(rows: Tensor<'f32'>, start: number, end: number): Tensor<'f32'> {
  return end - start === rows.shape[0] ? rows : rows.slice(start, end);
}

function chunksOf(count: number, size = count): (readonly [start: number, end: number])[] {
  const step = Math.max(1, size);
  return Array.from({ length: Math.max(1, Math.ceil(count / step)) }, (_, i) => [i * step, Math.min(count, (i + 1) * step)] as const);
}

/**
 * Ranges of the order as ranges of ranks: a row's rank is its place among the keys of the layer. Those held come before the new ones and
 * both ascend, so ranks are ordered as the places in the sequence are, and attention needs no others.
 */
function hiddenRanks(hidden: readonly HiddenKeys[], { cache, layer, order }: Attending, from: number): HiddenKeys[] {
  // The cache holds the new rows already where it held others before.
  const all = from > 0 ? cache!.order(layer) : (order as Uint32Array);
  return hidden.map(([start, end, first]) => [lowerBound(all, start), lowerBound(all, end), lowerBound(all, first)] as const);
}
