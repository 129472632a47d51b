/** Does a skipped row save its whole cost? Rows through a list against as many rows without one. */
import { Random } from '../../random.ts';
import { measureInTurn, ratio, type Work } from '../measure.ts';
import { difference, type FfnShape, ffnData, ffnFlops, giga, someRows } from '../data.ts';
import { noSlower } from '../against.ts';
import { type BenchDType, duelFfns, ownFfn } from '../own-ffn.ts';
import type { Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const SHAPES: readonly FfnShape[] = [
  [256, 576, 1536],
  [1024, 576, 1536],
  [256, 2048, 8192],
];
const DTYPES: readonly BenchDType[] = ['f32', 'f16', 'q8', 'q4'];
const BOUND = 1e-6;

export const gathered: Table = {
  name: 'gathered',
  title: 'Row-sparse FFN: a quarter of the rows at random, one thread',
  legend: [
    'vs dense: time over that of the dense FFN on as many rows (1.000: a skipped row costs nothing). vs all: over all rows (0.25 is ideal).',
    `difference: to the same rows of the dense result, over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [{ what: 'time over the dense FFN on as many rows', column: 'vs dense', atMost: 1.02 }, noSlower('new/old')],
  async *rows(context) {
    for (const shape of context.quick ? SHAPES.slice(0, 1) : SHAPES) {
      for (const dtype of DTYPES) {
        context.progress(`${dtype} ${shape.join(' x ')}`);
        const row = await benchShape(context, shape, dtype);
        if (row) yield row;
      }
    }
  },
};

async function benchShape({ backend, effort, skip, before }: Context, shape: FfnShape, dtype: BenchDType): Promise<Row | undefined> {
  const [tokens, hidden] = shape;
  const all = ffnData(shape);
  const count = tokens / 4;
  const rows = someRows(new Random(7), count, tokens);
  const input = new Float32Array(count * hidden);
  for (const [i, row] of rows.entries()) input.set(all.input.subarray(row * hidden, (row + 1) * hidden), i * hidden);
  const few = { ...all, tokens: count, input };
  try {
    const [whole, dense] = [await ownFfn(backend, all, dtype), await ownFfn(backend, few, dtype)];
    const [expected, found] = [await dense.result(), await whole.result()];
    const picked = input.map((_, i) => found[rows[Math.floor(i / hidden)]! * hidden + (i % hidden)]!);
    const worst = difference(picked, expected);
    const work: Record<string, Work> = { gathered: whole.gathered(rows), dense: dense.call, all: whole.call };
    const times = await measureInTurn(work, effort);
    whole.release();
    dense.release();
    return {
      rows: `${count} of ${shape.join(' x ')}`,
      dtype,
      'dense G/s': giga(ffnFlops(few), times.dense!.best),
      'gathered G/s': giga(ffnFlops(few), times.gathered!.best),
      'vs dense': ratio(times.gathered!, times.dense!),
      'vs all': ratio(times.gathered!, times.all!),
      'new/old': before && (await duelFfns(before, 'best', all, dtype, effort, rows)),
      difference: `${worst.toExponential(0)}${worst <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } catch (error) {
    skip(`${dtype}: ${(error as Error).message}`);
    return undefined;
  }
}
