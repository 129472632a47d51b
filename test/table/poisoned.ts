/** Operands with NaN, infinities and numbers that overflow carelessly written formulas. */
import type { Op } from '../../src/backend/bound-op.ts';
import * as ops from '../../src/ops/index.ts';
import { f32, matrix, out, pair, storedAsF16, u32, type Values } from '../operands.ts';
import { Random } from '../random.ts';

interface PoisonedCase {
  op: Op;
  title: string;
  values: Values;
  attrs: object;
}

const POISONS = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
  'a huge number': 1e18,
  'a large number': 400,
  'a large negative number': -400,
};

const random = new Random(0x90150);

/** Random numbers with one of another kind in the middle. */
function poisoned(poison: number, ...shape: number[]) {
  const data = random.normal(shape.reduce((product, extent) => product * extent, 1));
  data[data.length >> 1] = poison;
  return f32(data, ...shape);
}
const clean = (...shape: number[]) => f32(random.normal(shape.reduce((product, extent) => product * extent, 1)), ...shape);

function casesOf(title: string, poison: number): PoisonedCase[] {
  const positions = u32(Uint32Array.of(0, 1, 2, 3, 4));
  const heads = { q: clean(5, 2, 4), k: clean(5, 1, 4), v: clean(5, 1, 4), qPositions: positions, kPositions: positions, o: out(5, 2, 4) };
  const last = { qPositions: u32(Uint32Array.of(4)), kPositions: positions };
  const single = { q: clean(1, 1, 32), k: clean(5, 1, 32), v: clean(5, 1, 32), ...last, o: out(1, 1, 32) };
  const several = { q: clean(1, 3, 32), k: clean(5, 3, 32), v: clean(5, 3, 32), ...last, o: out(1, 3, 32) };
  const ffn = { up: pair(random.normal(24), random.normal(24), 6, 4), down: matrix(random.normal(24), 4, 6) };
  const causal = { scale: 0.5, causal: true };
  const cases: [Op, string, Values, object][] = [
    [ops.rmsNorm, title, { x: poisoned(poison, 3, 5), weight: clean(5), y: out(3, 5) }, { eps: 1e-5 }],
    [ops.layerNorm, title, { x: poisoned(poison, 3, 5), weight: clean(5), bias: clean(5), y: out(3, 5) }, { eps: 1e-5 }],
    [ops.rope, title, { x: poisoned(poison, 3, 1, 4), cos: clean(3, 2), sin: clean(3, 2) }, { layout: 'neox' }],
    [ops.linear, title, { x: poisoned(poison, 3, 5), weight: matrix(random.normal(20), 4, 5), y: out(3, 4) }, {}],
    [ops.attention, `${title} in a query`, { ...heads, q: poisoned(poison, 5, 2, 4) }, causal],
    [ops.attention, `${title} in a key`, { ...heads, k: poisoned(poison, 5, 1, 4) }, causal],
    [ops.attention, `${title} in a value`, { ...heads, v: poisoned(poison, 5, 1, 4) }, causal],
    [ops.attention, `${title} in a key of f16`, storedAsF16({ ...heads, k: poisoned(poison, 5, 1, 4) }), causal],
    [ops.attention, `${title} in a value of f16`, storedAsF16({ ...heads, v: poisoned(poison, 5, 1, 4) }), causal],
    [ops.attention, `${title} in a key of f16, one query`, storedAsF16({ ...single, k: poisoned(poison, 5, 1, 32) }), causal],
    [ops.attention, `${title} in a value of f16, one query`, storedAsF16({ ...single, v: poisoned(poison, 5, 1, 32) }), causal],
    [ops.attention, `${title} in a key of f16, one query of 3 heads`, storedAsF16({ ...several, k: poisoned(poison, 5, 3, 32) }), causal],
    [ops.attention, `${title} in a value of f16, one query of 3 heads`, storedAsF16({ ...several, v: poisoned(poison, 5, 3, 32) }), causal],
    [ops.attention, `${title} in a query to f16`, storedAsF16({ ...single, q: poisoned(poison, 1, 1, 32) }), causal],
    [ops.attention, `${title} in the key bias`, { ...heads, keyBias: poisoned(poison, 5) }, causal],
    [
      ops.attentionScores,
      `${title} in a key`,
      { q: clean(2, 4), k: poisoned(poison, 5, 1, 4), kPositions: positions, scores: out(5) },
      { ...causal, qPosition: 4, reduce: 'mean' },
    ],
    [
      ops.summary,
      title,
      { tokens: poisoned(poison, 5, 4), normWeight: clean(4), scoreWeight: clean(4), y: out(1, 4) },
      { eps: 1e-5, scoreBias: 0 },
    ],
  ];
  for (const activation of ops.ACTIVATIONS) {
    cases.push([
      ops.linear,
      `${title}, ${activation}`,
      { x: poisoned(poison, 3, 1), weight: matrix(Float32Array.of(1, -1), 2, 1), y: out(3, 2) },
      { activation },
    ]);
    cases.push([ops.gatheredFfn, `${title}, ${activation}`, { x: poisoned(poison, 3, 4), ...ffn }, { activation }]);
  }
  return cases.map(([op, what, values, attrs]) => ({ op, title: what, values, attrs }));
}

export const POISONED: readonly PoisonedCase[] = Object.entries(POISONS).flatMap(([name, poison]) => casesOf(name, poison));
