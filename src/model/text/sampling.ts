import * as field from '../../backend/fields.ts';

export interface SamplingOptions {
  /** Logits are divided by it: below 1 the likely tokens gain. 0 (default) takes the likeliest token. */
  temperature?: number;
  /** Sample among this many of the likeliest tokens. Default: all. */
  topK?: number;
  /** Sample among the likeliest tokens that together reach this probability (nucleus, arXiv 1904.09751). Default 1: all. */
  topP?: number;
  /** Sample among the tokens at least this many times as probable as the likeliest (arXiv 2407.01082). Default 0: all. */
  minP?: number;
  /** Above 1 lowers the logits of tokens that the prompt or the answer holds, below 1 raises them (CTRL, arXiv 1909.05858). Default 1. */
  repetitionPenalty?: number;
  /** Same seed, same answer. Default 0. */
  seed?: number;
}

export const SAMPLING_FIELDS: field.Fields<SamplingOptions> = {
  temperature: field.optional(field.number({ min: 0 })),
  topK: field.optional(field.integer({ min: 1 })),
  topP: field.optional(field.number({ above: 0, max: 1 })),
  minP: field.optional(field.number({ min: 0, max: 1 })),
  repetitionPenalty: field.optional(field.number({ above: 0 })),
  seed: field.optional(field.integer()),
};

/** logits [V], ids of the prompt and of the answer so far -> token id. Changes neither. */
export type Sampler = (logits: Float32Array, previous?: readonly number[]) => number;

/**
 * A sampler, or undefined where the likeliest token is the answer. As `generate` of Hugging Face transformers 5 does, in its
 * order: repetition penalty, temperature, top-k, top-p of what top-k kept, min-p. Each keeps a beginning of the tokens in
 * descending order; of equal logits the lowest id comes first, so top-k keeps exactly k (there: all that equal the k-th).
 * NaN and -Infinity are never drawn; an infinite likeliest logit is taken, as its softmax is no distribution. The caller has checked
 * the options against `SAMPLING_FIELDS`.
 */
export function makeSampler(options: SamplingOptions): Sampler | undefined {
  const { temperature = 0, topK = Number.POSITIVE_INFINITY, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  if (temperature === 0 && repetitionPenalty === 1) return undefined;

  const random = mulberry32(seed);
  let ids = new Uint32Array();
  let weights = new Float64Array(); // of tokens, relative to the likeliest one's
  return (logits, previous = []) => {
    const scores = repetitionPenalty === 1 ? logits : penalized(logits, previous, repetitionPenalty);
    const best = indexOfMax(scores);
    const peak = scores[best]!;
    if (temperature === 0 || !Number.isFinite(peak)) return best;
    if (ids.length !== scores.length) {
      ids = new Uint32Array(scores.length);
      weights = new Float64Array(scores.length);
    }
    let count = 0;
    let floor = Number.NEGATIVE_INFINITY; // of what top-k may still keep
    if (topK < scores.length) weights.fill(1);
    for (let id = 0; id < scores.length; id++) {
      if (!(scores[id]! > floor)) continue;
      ids[count++] = id;
      if (count < 4 * topK) continue;
      count = takeLikeliest(ids, count, scores, weights, count, topK);
      floor = scores[ids[count - 1]!]!;
    }
    if (count > topK) count = takeLikeliest(ids, count, scores, weights, count, topK);
    for (let i = 0; i < count; i++) weights[ids[i]!] = Math.exp((scores[ids[i]!]! - peak) / temperature);
    if (topP < 1) {
      const total = sum(ids, 0, count, weights);
      count = takeLikeliest(ids, count, scores, weights, total, topP * total);
    }
    if (minP > 0) count = dropBelow(ids, count, weights, minP);
    const total = sum(ids, 0, count, weights);
    count = takeLikeliest(ids, count, scores, weights, total, random() * total);
    return ids[count - 1]!;
  };
}

/** What makes a token less likely: positive logits are divided, negative ones multiplied. Ids beyond the vocabulary have no logit. */
function penalized(logits: Float32Array, previous: readonly number[], penalty: number): Float32Array {
  const scores = logits.slice();
  for (const id of previous) {
    const logit = logits[id];
    if (logit !== undefined) scores[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return scores;
}

/** Of equal values the lowest index; NaN never wins; 0 if there is nothing else. */
function indexOfMax(values: Float32Array): number {
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    if (values[i]! > most) {
      most = values[i]!;
      best = i;
    }
  }
  return best;
}

/** Keeps those of ids[0, count) whose weight is at least `least`, in their order. Returns how many. */
function dropBelow(ids: Uint32Array, count: number, weights: Float64Array, least: number): number {
  let kept = 0;
  for (let i = 0; i < count; i++) if (weights[ids[i]!]! >= least) ids[kept++] = ids[i]!;
  return kept;
}

function sum(ids: Uint32Array, start: number, end: number, weights: Float64Array): number {
  let total = 0;
  for (let i = start; i < end; i++) total += weights[ids[i]!]!;
  return total;
}

/**
 * Moves the likeliest of ids[0, count), which weigh `total`, to the front, as few as reach the weight `target`. Returns how
 * many, at least 1; the last of them is the least likely. Quickselect: time in proportion to `count`, nothing is sorted.
 */
function takeLikeliest(
  ids: Uint32Array,
  count: number,
  scores: Float32Array,
  weights: Float64Array,
  total: number,
  target: number,
): number {
  // Of a vocabulary most is dropped here: all that are this light weigh less, together, than what may be left out.
  let end = dropBelow(ids, count, weights, (total - target) / count);
  let start = 0;
  let missing = target;
  // All before `start` are likelier than the rest and do not reach the target; all before `end` do.
  while (end - start > 1) {
    const middle = partition(ids, start, end, scores);
    const weight = sum(ids, start, middle, weights);
    if (weight >= missing) end = middle;
    else {
      start = middle;
      missing -= weight;
    }
  }
  return end;
}

/** Splits ids[start, end), two or more, so that all before the returned place are likelier than those from there on. (Hoare) */
function partition(ids: Uint32Array, start: number, end: number, scores: Float32Array): number {
  const isBefore = (a: number, b: number) => scores[a]! > scores[b]! || (scores[a] === scores[b] && a < b);
  const [a, b, c] = [ids[start]!, ids[(start + end - 1) >> 1]!, ids[end - 1]!];
  const [first, second] = isBefore(a, b) ? [a, b] : [b, a];
  const pivot = isBefore(c, first) ? first : isBefore(c, second) ? c : second; // the median of the three
  let i = start;
  let j = end - 1;
  while (true) {
    while (isBefore(ids[i]!, pivot)) i++;
    while (isBefore(pivot, ids[j]!)) j--;
    if (i >= j) return j + 1;
    const id = ids[i]!;
    ids[i++] = ids[j]!;
    ids[j--] = id;
  }
}

/** A 32-bit generator with a full period: enough for sampling, the same on every runtime. Uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
