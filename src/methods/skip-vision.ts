import type { Backend } from '../backend/backend.ts';
import { invalidArgument, SkipVisionError } from '../backend/errors.ts';
import type { Tensor } from '../backend/tensor.ts';
import type { ComposeContext, ImageFeatures, LayerPlan, Method } from '../model/stack/method.ts';
import { produce } from '../model/stack/produce.ts';
import { copyRows, type Part, range, type Segment, type Sequence } from '../model/stack/sequence.ts';
import { merge } from '../ops/merge.ts';
import { summary } from '../ops/summary.ts';
import { topKRows } from '../ops/top-k-rows.ts';

export interface SkipVisionOptions {
  /** Patches kept as they are, chosen by CLS attention. */
  retained: number;
  /** Rows that the other patches are merged into; they skip the FFN. As many as the other patches: no merge. */
  skipped: number;
  /**
   * 'causal': later rows see the skipped ones during prefill. 'hidden': rows after the second summary token do not
   * (the published variants are called V-causal and V-mask in the specification).
   */
  mask?: 'causal' | 'hidden';
  /** Remove the keys and values of skipped rows after prefill. Default true. */
  evict?: boolean;
  /** The last skipped row is an ordinary one. Default false. */
  passLast?: boolean;
  /** eps of the summary scorer's LayerNorm. Default 1e-5. */
  summaryNormEps?: number;
}

/**
 * Skip-Vision: Efficient and Scalable Acceleration of Vision-Language Models via Adaptive Token Skipping (arXiv 2503.21817).
 *
 * An image becomes `retained | q1 | skipped | q2`. Skipped rows attend and are attended to in every layer but bypass
 * the FFN; after prefill their keys and values leave the cache. q1 and q2 are summaries of the retained and of the
 * skipped rows, pooled once before the first layer. It is a training-time method: the checkpoint must have been trained
 * with it and holds the scorer `skip_vision.summary.*`.
 */
export function skipVision(options: SkipVisionOptions): Method {
  const { retained, skipped, mask = 'causal', evict = true, passLast = false, summaryNormEps = 1e-5 } = options;
  checkCount('retained', retained);
  checkCount('skipped', skipped);
  if (mask !== 'causal' && mask !== 'hidden') throw invalidArgument('skipVision', 'mask', `"${mask}"`, 'causal or hidden');
  return {
    name: 'skip-vision',
    encoder: { clsScores: true },
    compose: (image, context) => compose(image, context, { retained, skipped, passLast, summaryNormEps }),
    layer: (_index, sequence) => planLayer(sequence, mask),
    evict: (sequence) => (evict ? skippedBlocks(sequence).map((block) => positionsOf(sequence, block)) : []),
  };
}

function checkCount(argument: string, count: number): void {
  if (!Number.isInteger(count) || count < 0) throw invalidArgument('skipVision', argument, String(count), 'a non-negative integer');
}

type ComposeOptions = Required<Pick<SkipVisionOptions, 'retained' | 'skipped' | 'passLast' | 'summaryNormEps'>>;

async function compose(image: ImageFeatures, context: ComposeContext, options: ComposeOptions): Promise<Part[]> {
  const { backend } = context;
  const patches = image.rows.shape[0]!;
  const others = patches - options.retained;
  if (options.retained > patches)
    throw invalidArgument('skipVision', 'retained', `${options.retained}`, `at most the ${patches} patches of the image`);
  if (options.skipped > others || (options.skipped === 0 && others > 0)) {
    throw invalidArgument('skipVision', 'skipped', `${options.skipped}`, `1 to ${others}, the patches that are not retained`);
  }
  const [retainedRows, otherRows] = await selectByCls(image, options.retained, context);
  const made: Tensor<'f32'>[] = [];
  const keep = (rows: Tensor<'f32'>) => {
    made.push(rows);
    return rows;
  };
  try {
    const retained = keep(copyRows(backend, image.rows, retainedRows));
    const skipped = keep(mergeTo(backend, copyRows(backend, image.rows, otherRows), options.skipped));
    const q1 = keep(summarise(retained, context, options.summaryNormEps));
    const q2 = keep(summarise(skipped, context, options.summaryNormEps));
    return layOut(backend, { retained, q1, skipped, q2 }, options.passLast);
  } catch (error) {
    for (const rows of made) rows.dispose();
    throw error;
  }
}

/**
 * `retained | q1 | skipped | q2`, taking the rows over. With `passLast` the last skipped row becomes an ordinary one at its
 * place. (spec 1.2, step 4)
 */
export function layOut(
  backend: Backend,
  rows: Readonly<Record<'retained' | 'q1' | 'skipped' | 'q2', Tensor<'f32'>>>,
  passLast: boolean,
): Part[] {
  const count = rows.skipped.shape[0]!;
  const skipped: Part[] = [{ kind: 'skipped', rows: rows.skipped }];
  if (passLast && count > 0) {
    using all = rows.skipped;
    skipped[0]!.rows = copyRows(backend, all, range(0, count - 1));
    skipped.push({ kind: 'retained', rows: copyRows(backend, all, range(count - 1, count)) });
  }
  return [{ kind: 'retained', rows: rows.retained }, { kind: 'summary', rows: rows.q1 }, ...skipped, { kind: 'summary', rows: rows.q2 }];
}

/** Patch numbers that the CLS row attends to most, and the others; both in raster order. (spec 1.2, step 1a) */
export async function selectByCls(
  image: ImageFeatures,
  count: number,
  { backend, signal }: ComposeContext,
): Promise<[retained: Uint32Array, others: Uint32Array]> {
  const patches = image.rows.shape[0]!;
  if (image.clsScores?.size !== 1 + patches) {
    throw new SkipVisionError(
      'unsupported',
      `the features have ${patches} rows, the CLS row attends to ${(image.clsScores?.size ?? 1) - 1} patches: skip-vision needs vision_feature_select_strategy "default"`,
      {
        argument: 'vision_feature_select_strategy',
        got: `${patches} rows`,
        expected: `${(image.clsScores?.size ?? 1) - 1} patches without CLS`,
      },
    );
  }
  using rows = backend.empty({ dtype: 'u32', shape: [1 + count] });
  // CLS itself is row 0: forced, so that it does not count, and taken off again
  backend.run(topKRows, { scores: image.clsScores, rows }, { k: count, alwaysKeep: [[0, 1]] });
  const retained = (await backend.read(rows, { signal })).subarray(1).map((row) => row - 1);
  const isRetained = new Set(retained);
  return [retained, range(0, patches).filter((patch) => !isRetained.has(patch))];
}

/** Merges rows down to `count`; takes `rows` over. As many rows as there are: they stay in raster order. */
function mergeTo(backend: Backend, rows: Tensor<'f32'>, count: number): Tensor<'f32'> {
  const [N, C] = rows.shape as [number, number];
  if (count === N) return rows;
  using taken = rows;
  using destinations = backend.empty({ dtype: 'u32', shape: [count] });
  using assignment = backend.empty({ dtype: 'u32', shape: [N] });
  return produce(backend, [count, C], (y) => backend.run(merge, { x: taken, y, destinations, assignment }, {}));
}

/** tokens [n, D] -> summary token [1, D]. (spec 1.2, step 3) */
function summarise(tokens: Tensor<'f32'>, { backend, parameter }: ComposeContext, eps: number): Tensor<'f32'> {
  const D = tokens.shape[1]!;
  const normWeight = parameter('skip_vision.summary.norm.weight', [D]);
  const normBias = parameter('skip_vision.summary.norm.bias', [D]);
  const scoreWeight = parameter('skip_vision.summary.score.weight', [1, D]).view([D]);
  // the score bias shifts all scores alike and cannot change a softmax
  const attrs = { eps, scoreBias: 0 };
  return produce(backend, [1, D], (y) => backend.run(summary, { tokens, normWeight, normBias, scoreWeight, y }, attrs));
}

function skippedBlocks(sequence: Sequence): Segment[] {
  return sequence.segments.filter((segment) => segment.kind === 'skipped');
}

function positionsOf({ positions }: Sequence, { start, end }: Segment): readonly [number, number] {
  return [positions[start]!, positions[end - 1]! + 1];
}

/** Every layer alike: skipped rows bypass the FFN; with 'hidden' no row after q2 sees them. (spec 1.2, steps 5 and 6) */
function planLayer(sequence: Sequence, mask: 'causal' | 'hidden'): LayerPlan {
  const blocks = skippedBlocks(sequence);
  const ffnRows = range(0, sequence.positions.length).filter((row) => !blocks.some(({ start, end }) => start <= row && row < end));
  if (mask === 'causal') return { ffnRows };
  return { ffnRows, hiddenKeys: blocks.map((block) => [...positionsOf(sequence, block), firstAfterSummary(sequence, block)] as const) };
}

/** Position of the first row after the summary token that follows a skipped block. */
function firstAfterSummary(sequence: Sequence, block: Segment): number {
  const q2 = sequence.segments.find((segment) => segment.kind === 'summary' && segment.start >= block.end)!;
  return sequence.positions[q2.end - 1]! + 1;
}
