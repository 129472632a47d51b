import * as field from '../backend/fields.ts';
import { invalidArgument, SkipVisionError } from '../backend/errors.ts';
import type { Tensor } from '../backend/tensor.ts';
import { Fields } from '../model/files/json.ts';
import type { Method, ModelFacts, Plan, Room, Run } from '../model/stack/hooks.ts';
import { otherRows, type Part, range, type Rows, rowsOf, type Segment, takeRows } from '../model/stack/rows.ts';
import { patchesOf } from '../model/stack/tower-spec.ts';
import { Scope, type Work } from '../model/stack/work.ts';
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

const COUNT = field.integer({ min: 0, max: 2 ** 24 });
export const SKIP_VISION_FIELDS: field.Fields<SkipVisionOptions> = {
  retained: COUNT,
  skipped: COUNT,
  mask: field.optional(field.oneOf('causal', 'hidden')),
  evict: field.optional(field.boolean),
  passLast: field.optional(field.boolean),
  summaryNormEps: field.optional(field.number({ min: 0, max: 1 })),
};

/**
 * Skip-Vision: Efficient and Scalable Acceleration of Vision-Language Models via Adaptive Token Skipping (arXiv 2503.21817).
 *
 * An image becomes `retained | q1 | skipped | q2`. Skipped rows attend and are attended to in every layer but bypass
 * the FFN; after prefill their keys and values leave the cache. q1 and q2 are summaries of the retained and of the
 * skipped rows, pooled once before the first layer. It is a training-time method: the checkpoint must have been trained
 * with it and holds the scorer `skip_vision.summary.*`.
 */
export function skipVision(options: SkipVisionOptions): Method {
  field.checkFields('skipVision', options, SKIP_VISION_FIELDS);
  const { mask = 'causal', evict = true, passLast = false, summaryNormEps = 1e-5, ...counts } = options;
  const composing = { ...counts, passLast, summaryNormEps };
  return {
    name: 'skip-vision',
    key: `skip-vision ${JSON.stringify(composing)}`,
    start: async (room) => startRun(room, composing, mask, evict),
  };
}

/** The settings that this package's own block `skip_vision` of config.json tells. */
export function trainedSkipVision({ json, tower }: ModelFacts): Method | undefined {
  const fields = new Fields('config.json', json).object('skip_vision', { enabled: false });
  if (!fields.boolean('enabled', true)) return undefined;
  const patches = patchesOf(tower);
  const retained = fields.integer('num_retained', { min: 1, max: patches });
  const mask = fields.choice('attention_mask', ['causal', 'hidden'], 'causal');
  return skipVision({
    retained,
    skipped: fields.integer('num_skipped', { min: 0, max: patches - retained }),
    passLast: fields.boolean('pass_last', false),
    summaryNormEps: fields.number('summary_norm_eps', { min: 0, max: 1, default: 1e-5 }),
    mask,
  });
}

/** The published ratio: 100 retained and 156 skipped of 576 patches. */
export function publishedCounts({ tower }: ModelFacts): SkipVisionOptions {
  const patches = patchesOf(tower);
  return { retained: Math.round((patches * 100) / 576), skipped: Math.round((patches * 156) / 576) };
}

type Composing = Required<Pick<SkipVisionOptions, 'retained' | 'skipped' | 'passLast' | 'summaryNormEps'>>;

function startRun(room: Room, composing: Composing, mask: 'causal' | 'hidden', evict: boolean): Run {
  const { work, depth } = room;
  /** CLS-row attention probabilities of the last block, summed over heads [1 + N]; element 0 is CLS itself. */
  let clsScores: Tensor<'f32'> | undefined;
  return {
    tower: {
      /** spec 1.2, step 1a */
      after(layer, _stream, seen) {
        if (layer === depth.tower - 1) clsScores = seen.scores(0, 'sum');
        return undefined;
      },
    },
    async compose({ x }) {
      const { retained: count, skipped: merged, passLast, summaryNormEps } = composing;
      checkCounts(composing, x.shape[0]!);
      const [retainedRows, otherPatches] = await selectByCls(work, x.shape[0]!, clsScores, count);
      using made = new Scope();
      const retained = made.keep(takeRows(work, x, retainedRows));
      const skipped = made.keep(mergeTo(work, takeRows(work, x, otherPatches), merged));
      const q1 = made.keep(await summarise(room, retained, summaryNormEps));
      const q2 = made.keep(await summarise(room, skipped, summaryNormEps));
      const parts = layOut(work, { retained, q1, skipped, q2 }, passLast);
      made.move();
      return parts;
    },
    decoder: { plan: (_layer, { rows }) => planLayer(rows, mask) },
    evict: (_layer, rows) => (evict ? rowsOf(rows, 'skipped') : new Uint32Array(0)),
    [Symbol.dispose]: () => clsScores?.dispose(),
  };
}

function checkCounts({ retained, skipped }: Composing, patches: number): void {
  const others = patches - retained;
  if (others < 0) throw invalidArgument('skipVision', 'retained', `${retained}`, `at most the ${patches} patches of the image`);
  if (skipped > others || (skipped === 0 && others > 0))
    throw invalidArgument('skipVision', 'skipped', `${skipped}`, `1 to ${others}, the patches that are not retained`);
}

/**
 * `retained | q1 | skipped | q2`, taking the rows over. With `passLast` the last skipped row becomes an ordinary one at its
 * place. (spec 1.2, step 4)
 */
export function layOut(work: Work, rows: Readonly<Record<'retained' | 'q1' | 'skipped' | 'q2', Tensor<'f32'>>>, passLast: boolean): Part[] {
  const count = rows.skipped.shape[0]!;
  const skipped: Part[] = [{ kind: 'skipped', rows: rows.skipped }];
  if (passLast && count > 0) {
    using all = rows.skipped;
    skipped[0]!.rows = takeRows(work, all, range(0, count - 1));
    skipped.push({ kind: 'retained', rows: takeRows(work, all, range(count - 1, count)) });
  }
  return [{ kind: 'retained', rows: rows.retained }, { kind: 'summary', rows: rows.q1 }, ...skipped, { kind: 'summary', rows: rows.q2 }];
}

/** Patch numbers that the CLS row attends to most, and the others; both in raster order. (spec 1.2, step 1a) */
export async function selectByCls(
  work: Work,
  patches: number,
  clsScores: Tensor<'f32'> | undefined,
  count: number,
): Promise<[retained: Uint32Array, others: Uint32Array]> {
  const scored = (clsScores?.size ?? 1) - 1;
  if (!clsScores || scored !== patches) {
    throw new SkipVisionError(
      'unsupported',
      `the features have ${patches} rows, the CLS row attends to ${scored} patches: skip-vision needs vision_feature_select_strategy "default"`,
      { argument: 'vision_feature_select_strategy', got: `${patches} rows`, expected: `${scored} patches without CLS` },
    );
  }
  using rows = work.backend.empty({ dtype: 'u32', shape: [1 + count] });
  // CLS itself is row 0: forced, so that it does not count, and taken off again
  work.run(topKRows, { scores: clsScores, rows }, { k: count, alwaysKeep: [[0, 1]] });
  const retained = (await work.backend.read(rows, { signal: work.signal })).subarray(1).map((row) => row - 1);
  return [retained, otherRows(retained, patches)];
}

/** Merges rows down to `count`; takes `rows` over. As many rows as there are: they stay in raster order. (spec 1.2, step 2) */
function mergeTo(work: Work, rows: Tensor<'f32'>, count: number): Tensor<'f32'> {
  const [N, C] = rows.shape as [number, number];
  if (count === N) return rows;
  using taken = rows;
  using destinations = work.backend.empty({ dtype: 'u32', shape: [count] });
  using assignment = work.backend.empty({ dtype: 'u32', shape: [N] });
  return work.produce([count, C], (y) => work.run(merge, { x: taken, y, destinations, assignment }, {}));
}

/** tokens [n, D] -> summary token [1, D]. (spec 1.2, step 3) */
async function summarise({ work, tensor }: Room, tokens: Tensor<'f32'>, eps: number): Promise<Tensor<'f32'>> {
  const D = tokens.shape[1]!;
  const normWeight = await tensor('skip_vision.summary.norm.weight', [D]);
  const normBias = await tensor('skip_vision.summary.norm.bias', [D]);
  const scoreWeight = (await tensor('skip_vision.summary.score.weight', [1, D])).view([D]);
  // the score bias shifts all scores alike and cannot change a softmax
  return work.produce([1, D], (y) => work.run(summary, { tokens, normWeight, normBias, scoreWeight, y }, { eps, scoreBias: 0 }));
}

/** Every layer alike: skipped rows bypass the FFN; with 'hidden' no row after q2 sees them. (spec 1.2, steps 5 and 6) */
export function planLayer(rows: Rows, mask: 'causal' | 'hidden'): Plan {
  const ffnRows = rowsOf(rows, 'skipped', true);
  if (mask === 'causal') return { ffnRows };
  const { order, segments } = rows;
  const hiddenKeys = segments
    .filter(({ kind }) => kind === 'skipped')
    .map((block) => [order[block.start]!, order[block.end - 1]! + 1, firstAfterSummary(rows, block)] as const);
  return { ffnRows, hiddenKeys };
}

/** Order of the first row after the summary token that follows a skipped block. */
function firstAfterSummary({ order, segments }: Rows, block: Segment): number {
  const q2 = segments.find(({ kind, start }) => kind === 'summary' && start >= block.end)!;
  return order[q2.end - 1]! + 1;
}
