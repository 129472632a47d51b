/** Calls with one fault each: operands and attributes that are fine, and what spoils them. */
import type { ErrorCode } from '../../src/backend/errors.ts';
import type { Op } from '../../src/backend/bound-op.ts';
import * as ops from '../../src/ops/index.ts';
import { f32, indexOut, matrix, out, pair, storedAsF16, u32, type Values } from '../operands.ts';
import { Random } from '../random.ts';

export interface BadCall {
  op: Op;
  title: string;
  good: Values;
  bad?: Values;
  attrs: object;
  badAttrs?: object;
  /** The argument that the error names. */
  argument: string;
  code?: ErrorCode;
}

interface Fault {
  values?: Values;
  attrs?: object;
  argument: string;
}

const random = new Random(0xbad);
const numbers = (...shape: number[]) => f32(random.normal(shape.reduce((product, extent) => product * extent, 1)), ...shape);
const list = (...rows: number[]) => u32(Uint32Array.from(rows));

function badCalls(op: Op, good: Values, attrs: object, faults: Readonly<Record<string, Fault>>): BadCall[] {
  const entries = Object.entries(faults);
  return entries.map(([title, { values: bad, attrs: badAttrs, argument }]) => ({ op, title, good, bad, attrs, badAttrs, argument }));
}

/** The ways in which a list of two rows out of `T` can be wrong. */
function listFaults(argument: string, T: number): Record<string, Fault> {
  return {
    [`${argument} descending`]: { values: { [argument]: list(2, 1) }, argument },
    [`${argument} with a duplicate`]: { values: { [argument]: list(1, 1) }, argument },
    [`${argument} with a row that is one too many`]: { values: { [argument]: list(1, T) }, argument },
    [`${argument} with a row far out of range`]: { values: { [argument]: list(1, 0xffffffff) }, argument },
    [`${argument} with two axes`]: { values: { [argument]: u32(Uint32Array.of(1, 2), [1, 2]) }, argument },
    [`${argument} of floats`]: { values: { [argument]: numbers(2) }, argument },
  };
}

const eps = { eps: 1e-5 };
const badEps: Record<string, Fault> = {
  'negative eps': { attrs: { eps: -1e-5 }, argument: 'eps' },
  'eps NaN': { attrs: { eps: Number.NaN }, argument: 'eps' },
  'eps infinite': { attrs: { eps: Number.POSITIVE_INFINITY }, argument: 'eps' },
};

const norm: Values = { x: numbers(3, 4), weight: numbers(4), y: out(3, 4) };

const projection: Values = {
  x: numbers(4, 5),
  weight: matrix(random.normal(15), 3, 5),
  bias: numbers(3),
  rows: list(1, 2),
  outRows: list(0, 3),
  y: out(4, 3),
};

const ffn: Values = {
  x: numbers(4, 6),
  rows: list(1, 2),
  normWeight: numbers(6),
  up: pair(random.normal(30), random.normal(30), 5, 6),
  down: matrix(random.normal(30), 6, 5),
  rowGate: numbers(2),
};

const heads: Values = {
  q: numbers(3, 4, 6),
  k: numbers(5, 2, 6),
  v: numbers(5, 2, 6),
  qPositions: list(4, 6, 7),
  kPositions: list(0, 2, 3, 5),
  keyBias: numbers(4),
  o: out(3, 4, 6),
};
const scores: Values = { q: numbers(4, 6), k: numbers(5, 2, 6), kPositions: list(0, 2, 3, 5), scores: out(4) };
const half = (...shape: number[]) => storedAsF16({ k: numbers(...shape) }).k;
const cache: Values = { k: numbers(2, 5, 3), v: numbers(2, 5, 3), keep: list(1, 3) };
const append: Values = { kNew: numbers(2, 2, 3), vNew: numbers(2, 2, 3), k: numbers(2, 5, 3), v: numbers(2, 5, 3) };
const image: Values = {
  pixels: numbers(3, 4, 6),
  weight: matrix(random.normal(60), 5, 12),
  classEmbedding: numbers(5),
  positionEmbedding: numbers(7, 5),
  y: out(7, 5),
};

export const BAD_CALLS: readonly BadCall[] = [
  ...badCalls(ops.rmsNorm, norm, eps, {
    ...badEps,
    'a weight of another width': { values: { weight: numbers(5) }, argument: 'weight' },
    'an output of other rows': { values: { y: out(2, 4) }, argument: 'y' },
    'x with three axes': { values: { x: numbers(3, 4, 1) }, argument: 'x' },
    'x of integers': { values: { x: u32(new Uint32Array(12), [3, 4]) }, argument: 'x' },
  }),
  ...badCalls(ops.layerNorm, { ...norm, bias: numbers(4) }, eps, {
    ...badEps,
    'a bias of another width': { values: { bias: numbers(3) }, argument: 'bias' },
  }),
  ...badCalls(
    ops.rope,
    { x: numbers(3, 2, 4), cos: numbers(3, 2), sin: numbers(3, 2) },
    { layout: 'neox' },
    {
      'a layout nobody knows': { attrs: { layout: 'llama' }, argument: 'layout' },
      'tables of other rows': { values: { cos: numbers(2, 2) }, argument: 'cos' },
      'tables that differ': { values: { sin: numbers(3, 1) }, argument: 'sin' },
      'an odd head width': { values: { x: numbers(3, 2, 5) }, argument: 'cos' },
    },
  ),
  ...badCalls(
    ops.linear,
    projection,
    { activation: 'silu' },
    {
      ...listFaults('rows', 4),
      ...listFaults('outRows', 4),
      'fewer outRows than rows': { values: { outRows: list(0) }, argument: 'outRows' },
      'y without outRows of other rows': { values: { outRows: undefined }, argument: 'y' },
      'a weight of another width': { values: { weight: matrix(random.normal(12), 3, 4) }, argument: 'weight' },
      'a gate and up pair': { values: { weight: pair(random.normal(15), random.normal(15), 3, 5) }, argument: 'weight' },
      'a bias of another length': { values: { bias: numbers(5) }, argument: 'bias' },
      'an activation nobody knows': { attrs: { activation: 'swish' }, argument: 'activation' },
    },
  ),
  ...badCalls(
    ops.gatheredFfn,
    ffn,
    { activation: 'silu', norm: 'rms', eps: 1e-5 },
    {
      ...badEps,
      ...listFaults('rows', 4),
      'more rows than row gates': { values: { rows: list(0, 1, 2) }, argument: 'rowGate' },
      'an activation nobody knows': { attrs: { activation: 'SiLU' }, argument: 'activation' },
      'a norm nobody knows': { attrs: { norm: 'batch' }, argument: 'norm' },
      'a norm without its weight': { values: { normWeight: undefined }, argument: 'normWeight' },
      'a norm weight without a norm': { attrs: { norm: 'none' }, argument: 'normWeight' },
      'a norm bias with rms': { values: { normBias: numbers(6) }, argument: 'normBias' },
      'a gate bias without a gate': { values: { up: matrix(random.normal(30), 5, 6), gateBias: numbers(5) }, argument: 'gateBias' },
      'a pair for down': { values: { down: pair(random.normal(30), random.normal(30), 6, 5) }, argument: 'down' },
      'down of another width': { values: { down: matrix(random.normal(24), 6, 4) }, argument: 'down' },
      'an up bias of another length': { values: { upBias: numbers(6) }, argument: 'upBias' },
    },
  ),
  ...badCalls(
    ops.attention,
    heads,
    { scale: 0.5, causal: true },
    {
      'query heads that the key heads do not divide': { values: { k: numbers(5, 3, 6), v: numbers(5, 3, 6) }, argument: 'k' },
      'no key heads': { values: { k: numbers(5, 0, 6), v: numbers(5, 0, 6) }, argument: 'k' },
      'descending query positions': { values: { qPositions: list(4, 7, 6) }, argument: 'qPositions' },
      'repeated key positions': { values: { kPositions: list(0, 2, 2, 5) }, argument: 'kPositions' },
      'more key positions than cache rows': { values: { kPositions: list(0, 1, 2, 3, 4, 5), keyBias: undefined }, argument: 'kPositions' },
      'keys of f16 and values of f32': { values: { k: half(5, 2, 6) }, argument: 'v' },
      'a query of f16': { values: { q: half(3, 4, 6) }, argument: 'q' },
      'keys and values of different sizes': { values: { v: numbers(4, 2, 6) }, argument: 'v' },
      'a key bias of another length': { values: { keyBias: numbers(5) }, argument: 'keyBias' },
      'an output of another width': { values: { o: out(3, 4, 5) }, argument: 'o' },
      'a scale that is no number': { attrs: { scale: Number.NaN }, argument: 'scale' },
      'a hidden block that ends before it starts': { attrs: { hiddenKeys: [[3, 2, 4]] }, argument: 'hiddenKeys' },
      'a hidden block with a fraction': {
        attrs: {
          hiddenKeys: [
            [0, 1, 2],
            [0, 1.5, 4],
          ],
        },
        argument: 'hiddenKeys',
      },
      'a hidden block below zero': { attrs: { hiddenKeys: [[-1, 2, 4]] }, argument: 'hiddenKeys' },
    },
  ),
  ...badCalls(
    ops.attentionScores,
    scores,
    { qPosition: 3, causal: true, scale: 0.5, reduce: 'mean' },
    {
      'query heads that the key heads do not divide': { values: { q: numbers(5, 6) }, argument: 'k' },
      'descending key positions': { values: { kPositions: list(0, 3, 2, 5) }, argument: 'kPositions' },
      'more key positions than cache rows': { values: { kPositions: list(0, 1, 2, 3, 4, 5), scores: out(6) }, argument: 'kPositions' },
      'an infinite scale': { attrs: { scale: Number.POSITIVE_INFINITY }, argument: 'scale' },
      'a negative position': { attrs: { qPosition: -1 }, argument: 'qPosition' },
      'a fractional position': { attrs: { qPosition: 0.5 }, argument: 'qPosition' },
      'a reduction nobody knows': { attrs: { reduce: 'max' }, argument: 'reduce' },
      'scores of another length': { values: { scores: out(5) }, argument: 'scores' },
    },
  ),
  ...badCalls(
    ops.compactKv,
    cache,
    {},
    {
      ...listFaults('keep', 5),
      'keys and values of different rows': { values: { v: numbers(2, 4, 3) }, argument: 'v' },
      'f32 into f16': { values: { kOut: half(2, 2, 2), vOut: half(2, 2, 2) }, argument: 'kOut' },
      'kOut without vOut': { values: { kOut: out(2, 2, 3) }, argument: 'vOut' },
      'vOut without kOut': { values: { vOut: out(2, 2, 3) }, argument: 'kOut' },
      'outputs with too few rows': { values: { kOut: out(2, 1, 3), vOut: out(2, 1, 3) }, argument: 'kOut' },
    },
  ),
  ...badCalls(
    ops.appendKv,
    append,
    { at: 3 },
    {
      'a row beyond the capacity': { attrs: { at: 4 }, argument: 'at' },
      'a negative row': { attrs: { at: -1 }, argument: 'at' },
      'a fractional row': { attrs: { at: 1.5 }, argument: 'at' },
      'no row': { attrs: { at: undefined }, argument: 'at' },
      'new keys of f16': { values: { kNew: half(2, 2, 2) }, argument: 'kNew' },
      'keys of f32 and values of f16': { values: { v: half(2, 5, 2) }, argument: 'v' },
      'new keys of another width': { values: { vNew: numbers(2, 2, 4) }, argument: 'vNew' },
    },
  ),
  ...badCalls(
    ops.ropeAppend,
    {
      q: numbers(2, 4, 6),
      kv: numbers(2, 4, 6),
      cos: numbers(2, 3),
      sin: numbers(2, 3),
      k: numbers(5, 2, 6),
      v: numbers(5, 2, 6),
    },
    { layout: 'neox', at: 3 },
    {
      ...listFaults('rows', 2),
      'a layout nobody knows': { attrs: { layout: 'gptj' }, argument: 'layout' },
      'a row beyond the capacity': { attrs: { at: 4 }, argument: 'at' },
      'a fractional row': { attrs: { at: 0.5 }, argument: 'at' },
      'keys without values': { values: { kv: numbers(2, 2, 6) }, argument: 'kv' },
      'tables of another width': { values: { cos: numbers(2, 2), sin: numbers(2, 2) }, argument: 'cos' },
      'fewer queries than rows': { values: { q: numbers(1, 4, 6) }, argument: 'q' },
      'a row list without queries': { values: { q: undefined, rows: list(0) }, argument: 'rows' },
    },
  ),
  ...badCalls(
    ops.embedding,
    { table: numbers(4, 3), ids: list(3, 0, 3), y: out(5, 3) },
    { at: 1 },
    {
      'an id beyond the table': { values: { ids: list(0, 4) }, argument: 'ids' },
      'more rows than fit': { attrs: { at: 3 }, argument: 'at' },
      'a negative row': { attrs: { at: -1 }, argument: 'at' },
      'an output of another width': { values: { y: out(5, 4) }, argument: 'y' },
    },
  ),
  ...badCalls(
    ops.copyRows,
    { x: numbers(4, 3), rows: list(1, 3), y: out(5, 3) },
    { at: 3 },
    {
      ...listFaults('rows', 4),
      'more rows than fit': { attrs: { at: 4 }, argument: 'at' },
      'all rows where they do not fit': { values: { rows: undefined, y: out(3, 3) }, argument: 'y' },
      'an output of another width': { values: { y: out(5, 4) }, argument: 'y' },
    },
  ),
  ...badCalls(
    ops.scatterRows,
    { x: numbers(4, 3), rows: list(1, 3), y: numbers(2, 3), gate: numbers(2) },
    {},
    {
      ...listFaults('rows', 4),
      'rows of another width': { values: { y: numbers(2, 4) }, argument: 'y' },
      'a gate of another length': { values: { gate: numbers(3) }, argument: 'gate' },
    },
  ),
  ...badCalls(
    ops.gatherPositions,
    { list: list(2, 5, 6, 9), rows: list(1, 3), y: indexOut(2) },
    {},
    {
      ...listFaults('rows', 4),
      'positions that do not ascend': { values: { list: list(2, 5, 5, 9) }, argument: 'list' },
      'an output of another length': { values: { y: indexOut(3) }, argument: 'y' },
      'an output of floats': { values: { y: out(2) }, argument: 'y' },
    },
  ),
  ...badCalls(
    ops.argmax,
    { x: numbers(2, 5), ids: indexOut(2) },
    {},
    {
      'rows without values': { values: { x: numbers(2, 0) }, argument: 'x' },
      'ids that are floats': { values: { ids: out(2) }, argument: 'ids' },
      'ids of another length': { values: { ids: indexOut(3) }, argument: 'ids' },
    },
  ),
  ...badCalls(
    ops.topKRows,
    { scores: numbers(9), rows: indexOut(5) },
    { k: 3, alwaysKeep: [[0, 2]] },
    {
      'more than there are': { attrs: { k: 8 }, argument: 'k' },
      'a negative count': { attrs: { k: -1 }, argument: 'k' },
      'a fractional count': { attrs: { k: 2.5 }, argument: 'k' },
      'a range beyond the scores': { attrs: { alwaysKeep: [[8, 10]] }, argument: 'alwaysKeep' },
      'a range that ends before it starts': { attrs: { alwaysKeep: [[2, 0]] }, argument: 'alwaysKeep' },
      'a list of another length': { values: { rows: indexOut(4) }, argument: 'rows' },
    },
  ),
  ...badCalls(
    ops.merge,
    { x: numbers(5, 4), y: out(2, 4), destinations: indexOut(2), assignment: indexOut(5) },
    {},
    {
      'more destinations than tokens': { values: { y: out(6, 4), destinations: indexOut(6) }, argument: 'y' },
      'no destination': { values: { y: out(0, 4), destinations: indexOut(0) }, argument: 'y' },
      'destinations of another length': { values: { destinations: indexOut(3) }, argument: 'destinations' },
      'an assignment of another length': { values: { assignment: indexOut(4) }, argument: 'assignment' },
    },
  ),
  ...badCalls(
    ops.summary,
    { tokens: numbers(5, 4), normWeight: numbers(4), scoreWeight: numbers(4), y: out(1, 4) },
    { ...eps, scoreBias: 0 },
    {
      ...badEps,
      'a score bias that is no number': { attrs: { scoreBias: Number.NaN }, argument: 'scoreBias' },
      'two summaries': { values: { y: out(2, 4) }, argument: 'y' },
      'a score weight of another width': { values: { scoreWeight: numbers(5) }, argument: 'scoreWeight' },
    },
  ),
  ...badCalls(
    ops.patchEmbedding,
    image,
    { patchSize: 2 },
    {
      'a patch size that does not divide': { attrs: { patchSize: 4 }, argument: 'patchSize' },
      'a patch size of zero': { attrs: { patchSize: 0 }, argument: 'patchSize' },
      'a kernel of another size': { values: { weight: matrix(random.normal(55), 5, 11) }, argument: 'weight' },
      'no room for the class row': { values: { positionEmbedding: numbers(6, 5), y: out(6, 5) }, argument: 'y' },
      'positions of other rows': { values: { positionEmbedding: numbers(6, 5) }, argument: 'y' },
    },
  ),
];
