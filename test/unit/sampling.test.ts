/** The sampler against a plain one that sorts the whole vocabulary, and what it promises of odd logits. */
import { describe, expect, test } from 'vitest';
import { checkFields } from '../../src/backend/fields.ts';
import { makeSampler, SAMPLING_FIELDS, type SamplingOptions } from '../../src/model/text/sampling.ts';
import { Random } from '../random.ts';

/** Sorts, then cuts the list by one setting after another; draws by walking down what is left. */
function plainSampler(options: SamplingOptions): (logits: Float32Array, previous: readonly number[]) => number {
  const { temperature = 0, topK = Number.POSITIVE_INFINITY, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const random = new Random(seed);
  return (logits, previous) => {
    const seen = new Set(previous);
    const penalized = logits.map((logit, id) => {
      if (!seen.has(id) || repetitionPenalty === 1) return logit;
      return logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    });
    const scores = penalized.map((score) => (Number.isNaN(score) ? Number.NEGATIVE_INFINITY : score));
    const order = Array.from(scores.keys()).sort((a, b) => (scores[a] === scores[b] ? a - b : scores[b]! - scores[a]!));
    const peak = scores[order[0]!]!;
    if (temperature === 0 || !Number.isFinite(peak)) return order[0]!;
    const weightOf = (id: number) => Math.exp((scores[id]! - peak) / temperature);
    const sum = (ids: readonly number[]) => ids.reduce((total, id) => total + weightOf(id), 0);
    const reach = (ids: readonly number[], target: number) => {
      let mass = 0;
      return ids.findIndex((id) => {
        mass += weightOf(id);
        return mass >= target;
      });
    };
    let kept = order.filter((id) => scores[id]! > Number.NEGATIVE_INFINITY).slice(0, topK);
    if (topP < 1) kept = kept.slice(0, reach(kept, topP * sum(kept)) + 1);
    kept = kept.filter((id) => weightOf(id) >= minP);
    return kept.at(reach(kept, random.unit() * sum(kept)))!; // -1 by rounding: the last
  };
}

const LOGITS: Readonly<Record<string, (V: number, random: Random) => Float32Array>> = {
  'one clear winner': (V, random) => random.normal(V, 2).map((value, id) => (id === V >> 1 ? 20 : value)),
  spread: (V, random) => random.normal(V, 3),
  'nearly flat': (V, random) => random.normal(V, 0.01),
  ties: (V, random) => random.normal(V, 2).map(Math.round),
  'all equal': (V) => new Float32Array(V).fill(-7),
  ascending: (V) => Float32Array.from({ length: V }, (_, id) => id / V),
  'a ridge in the middle': (V) => Float32Array.from({ length: V }, (_, id) => -Math.abs(id - V / 2) / V),
  'far apart': (V, random) => random.normal(V, 1e38),
  'NaN and -Infinity among ties': (V, random) =>
    random.normal(V, 2).map((value) => [Math.round(value), Number.NaN, Number.NEGATIVE_INFINITY][random.below(3)]!),
  'infinities and NaN': (V, random) =>
    random.normal(V).map((value) => [value, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY][random.below(4)]!),
  'NaN alone': (V) => new Float32Array(V).fill(Number.NaN),
};

const SETTINGS: readonly SamplingOptions[] = [
  { temperature: 1 },
  { temperature: 0.7, topP: 0.9 },
  { temperature: 1e-30, topP: 0.5 },
  { temperature: 1e30, topK: 2 },
  { temperature: 1, topP: 1e-9 },
  { temperature: 1, topP: 0.999 },
  { temperature: 1, topK: 1 },
  { temperature: 1.3, topK: 5 },
  { temperature: 1, topK: 40_000, topP: 0.6 },
  { temperature: 0.8, topK: 50, topP: 0.95, minP: 0.05 },
  { temperature: 1, minP: 0.2 },
  { temperature: 1, minP: 1 },
  { temperature: 2, topP: 0.3, minP: 0.001 },
  { repetitionPenalty: 1.3 },
  { repetitionPenalty: 0.5 },
  { temperature: 0.9, topK: 20, repetitionPenalty: 1.2 },
  { temperature: 0.9, topP: 0.8, minP: 0.01, repetitionPenalty: 2 },
];

/** `rounds` tokens of an answer, each against the plain sampler. */
function compare(kind: string, V: number, rounds: number, settings: SamplingOptions): void {
  const random = new Random(V);
  const options = { ...settings, seed: random.below(1000) };
  const [sample, plain] = [makeSampler(options)!, plainSampler(options)];
  const previous: number[] = [0, V + 3];
  for (let round = 0; round < rounds; round++) {
    const logits = LOGITS[kind]!(V, random);
    const copy = logits.slice();
    const id = sample(logits, previous);
    expect([id, kind, settings]).toEqual([plain(copy, previous), kind, settings]);
    expect(logits).toEqual(copy);
    previous.push(id);
  }
}

describe('as a sampler that sorts', () => {
  const kinds = Object.keys(LOGITS);

  test.each(kinds)('%s', (kind) => {
    for (const settings of SETTINGS) for (const V of [1, 2, 5, 257]) compare(kind, V, 12, settings);
  });

  test('49,152 tokens', () => {
    for (const [i, settings] of SETTINGS.entries()) compare(kinds[i % kinds.length]!, 49_152, 1, settings);
    for (const [i, kind] of kinds.entries()) compare(kind, 49_152, 1, SETTINGS[(5 * i) % SETTINGS.length]!);
  });
});

describe('settings', () => {
  test('none, or temperature 0 alone: the likeliest token, which needs no sampler', () => {
    expect(makeSampler({})).toBeUndefined();
    expect(makeSampler({ temperature: 0, topK: 3, topP: 0.5, minP: 0.1, seed: 9 })).toBeUndefined();
  });

  test('a repetition penalty turns a greedy answer away from what was said, whatever the sign of the logit', () => {
    const greedy = makeSampler({ repetitionPenalty: 2 })!;
    const all = [5, 4, -3, -2].map((top) => Float32Array.of(top, top > 0 ? top - 1 : top * 1.5, Number.NEGATIVE_INFINITY));
    expect(all.map((logits) => greedy(logits, []))).toEqual([0, 0, 0, 0]);
    expect(all.map((logits) => greedy(logits, [0, 0, 2]))).toEqual([1, 1, 1, 1]); // once, however often it was said
    expect(greedy(Float32Array.of(0, -1e-9), [0])).toBe(0); // 0 stays 0
  });

  test('one size of vocabulary after another', () => {
    const sample = makeSampler({ temperature: 1, topK: 1 })!;
    expect(sample(Float32Array.of(1, 2, 3))).toBe(2);
    expect(sample(Float32Array.of(1, 2))).toBe(1);
    expect(sample(Float32Array.of(1, 2, 3, 4))).toBe(3);
  });

  test('draws follow the probabilities', () => {
    const logits = Float32Array.of(Math.log(0.5), Math.log(0.3), Math.log(0.2));
    const sample = makeSampler({ temperature: 1, seed: 1 })!;
    const counts = [0, 0, 0];
    for (let i = 0; i < 10_000; i++) counts[sample(logits)]!++;
    for (const [id, share] of [0.5, 0.3, 0.2].entries()) expect(Math.abs(counts[id]! / 10_000 - share)).toBeLessThan(0.02);
  });

  test.each([
    ['temperature', [-1, Number.NaN, Number.POSITIVE_INFINITY, '0.5', null]],
    ['topK', [0, 1.5, Number.POSITIVE_INFINITY, '5', null]],
    ['topP', [0, 1.5, Number.NaN, '1']],
    ['minP', [-0.1, 1.1, Number.NaN, true]],
    ['repetitionPenalty', [0, -1, Number.POSITIVE_INFINITY, Number.NaN, [1]]],
    ['seed', [0.5, '1']],
  ])('bad %s', (argument, values) => {
    for (const value of values) {
      expect(() => checkFields('generate', { [argument]: value }, SAMPLING_FIELDS)).toThrow(
        expect.objectContaining({ code: 'invalid-argument', argument }),
      );
    }
  });
});
