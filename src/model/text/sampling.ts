import { invalidArgument } from '../../backend/errors.ts';

export interface SamplingOptions {
  /** 0 (default) takes the likeliest token. */
  temperature?: number;
  /** Sample among the likeliest tokens that together reach this probability. Default 1. */
  topP?: number;
  /** Same seed, same answer. Default 0. */
  seed?: number;
}

/** logits [V] -> token id. */
export type Sampler = (logits: Float32Array) => number;

/** A sampler for temperature and top-p (nucleus, arXiv 1904.09751), or undefined for greedy decoding. */
export function makeSampler({ temperature = 0, topP = 1, seed = 0 }: SamplingOptions): Sampler | undefined {
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    throw invalidArgument('generate', 'temperature', String(temperature), 'a finite number, at least 0');
  if (!(topP > 0 && topP <= 1)) throw invalidArgument('generate', 'topP', String(topP), 'a number in (0, 1]');
  if (!Number.isInteger(seed)) throw invalidArgument('generate', 'seed', String(seed), 'an integer');
  if (temperature === 0) return undefined;
  const random = mulberry32(seed);
  return (logits) => {
    const score = (id: number) => (Number.isNaN(logits[id]!) ? Number.NEGATIVE_INFINITY : logits[id]!);
    const order = Array.from(logits.keys()).sort((a, b) => (score(a) === score(b) ? a - b : score(b) - score(a)));
    const peak = score(order[0]!);
    if (!Number.isFinite(peak)) return order[0]!; // the softmax of infinities is no distribution
    const weights = order.map((id) => Math.exp((score(id) - peak) / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let nucleus = 0;
    let mass = 0;
    while (nucleus < order.length && mass < topP * total) mass += weights[nucleus++]!;
    let threshold = random() * mass;
    for (let i = 0; i < nucleus; i++) {
      threshold -= weights[i]!;
      if (threshold < 0) return order[i]!;
    }
    return order[nucleus - 1]!;
  };
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
