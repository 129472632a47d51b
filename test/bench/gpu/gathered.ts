/** Does a skipped row save its whole cost? Rows through a list against as many rows without one, and against Gather + FFN + ScatterND. */
import { difference, type FfnShape, ffnData, ffnFlops, giga, someRows } from '../data.ts';
import { ratio } from '../measure.ts';
import { Random } from '../../random.ts';
import { ownFfn } from '../own-ffn.ts';
import type { Row } from '../table.ts';
import { type Chain, measureChains } from './chain.ts';
import type { Context, Table } from './context.ts';
import { ownChain, versus } from './ffn.ts';
import { ffnChain } from './models.ts';
import { type Contender, ORT_NAMES } from './peers.ts';

/** Rows kept, and the shape they are kept of. */
type Sparse = readonly [kept: number, shape: FfnShape];
const SMALL: readonly Sparse[] = [
  [64, [256, 576, 1536]],
  [100, [256, 576, 1536]],
];
const LARGE: readonly Sparse[] = [
  [256, [1024, 576, 1536]],
  [256, [1024, 2048, 8192]],
];
const TOY: readonly Sparse[] = [[10, [16, 64, 96]]];
const BOUND = 1e-6;

export const gathered: Table = {
  name: 'gathered',
  title: 'Row-sparse f32 FFN: some rows at random, GFLOP/s (median)',
  legend: [
    'vs dense: time over that of the dense FFN on as many rows (1.000: a skipped row costs nothing). vs all: over all rows.',
    'ort-...: Gather + FFN + ScatterND that adds, of onnxruntime; vs ...: how many times faster ours is.',
    `difference: to the same rows of the dense result, over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [
    { what: 'time over the dense FFN on as many rows', column: 'vs dense', atMost: 1.15 },
    { what: "vs the best of onnxruntime's Gather + FFN + ScatterND", column: 'vs best', atLeast: 1.3 },
  ],
  async *rows(context) {
    const cases = context.smoke ? TOY : [...SMALL.slice(0, context.quick ? 1 : undefined), ...(context.software ? [] : LARGE)];
    for (const [kept, shape] of cases) {
      context.progress(`${kept} of ${shape.join(' x ')}`);
      yield await benchCase(context, kept, shape);
    }
  },
};

async function benchCase({ backend, peers, effort, skip }: Context, kept: number, shape: FfnShape): Promise<Row> {
  const [tokens, hidden] = shape;
  const all = ffnData(shape);
  const rows = someRows(new Random(7), kept, tokens);
  const input = new Float32Array(kept * hidden);
  for (const [i, row] of rows.entries()) input.set(all.input.subarray(row * hidden, (row + 1) * hidden), i * hidden);
  const few = { ...all, tokens: kept, input };
  const [whole, dense] = [await ownFfn(backend, all), await ownFfn(backend, few)];
  const theirs: Record<string, Contender> = {};
  try {
    const [expected, found] = [await dense.result(), await whole.result()];
    const picked = input.map((_, i) => found[rows[Math.floor(i / hidden)]! * hidden + (i % hidden)]!);
    const worst = difference(picked, expected);
    for (const name of ORT_NAMES) {
      const contender = await peers.ort(name, (blocks) => ffnChain(all, blocks, rows), { x: [all.input, [tokens, hidden]] }, skip);
      if (contender) theirs[name] = contender;
    }
    const chains: Record<string, Chain> = {
      ours: ownChain(whole, whole.gathered(rows)),
      dense: ownChain(dense, dense.call),
      all: ownChain(whole, whole.call),
    };
    for (const [name, { chain }] of Object.entries(theirs)) chains[name] = chain;
    const times = await measureChains(chains, effort);
    const names = ['ours', 'dense', ...Object.keys(theirs)];
    return {
      rows: `${kept} of ${shape.join(' x ')}`,
      'ours ms': times.ours!.median,
      ...Object.fromEntries(names.map((name) => [name, giga(ffnFlops(few), times[name]!.median)])),
      'vs dense': ratio(times.ours!, times.dense!),
      'vs all': ratio(times.ours!, times.all!),
      ...versus(times, Object.keys(theirs)),
      difference: `${worst.toExponential(0)}${worst <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of [whole, dense, ...Object.values(theirs)]) await each.release();
  }
}
