/** Dispatches of the ops and of a whole decoder layer: what a GPU waits for between kernels. No times. */
import { none } from '../../../src/methods/none.ts';
import { skipVision } from '../../../src/methods/skip-vision.ts';
import { llamaDecoder } from '../../../src/model/families/blocks.ts';
import { Decoder } from '../../../src/model/stack/decoder.ts';
import { attention } from '../../../src/ops/attention.ts';
import { compactKv } from '../../../src/ops/compact-kv.ts';
import { ffnData } from '../data.ts';
import { Meter, randomSource, Run } from '../decoder-run.ts';
import { ownFfn } from '../own-ffn.ts';
import type { Row } from '../table.ts';
import type { Context, Table } from './context.ts';
import { type Counts, counting } from './counting.ts';

const CONFIG = {
  rmsNormEps: 1e-5,
  ropeTheta: 1e5,
  hiddenAct: 'silu',
  headDim: 16,
  hiddenSize: 64,
  intermediateSize: 96,
  numHeads: 4,
  numKvHeads: 2,
} as const;
const [TEXT, IMAGE] = [8, 32];
const METHODS = [none(), skipVision({ retained: 8, skipped: 12 })];
/** Layers of the two decoders whose difference is counted. */
const [FEWER, MORE] = [2, 4];

export const dispatches: Table = {
  name: 'dispatches',
  title: 'What one call gives the GPU',
  legend: [
    'A layer: a decoder of 4 layers minus one of 2, over two; the passes, submits and writes of a layer are fractions of the whole.',
  ],
  targets: [
    {
      what: 'dispatches of an f32 FFN, with rows or without',
      column: 'dispatches',
      atMost: 2,
      where: (row) => String(row.what).startsWith('FFN'),
    },
  ],
  async *rows(context) {
    yield* ops(context);
    for (const method of METHODS) yield* layers(context, method);
  },
};

async function* ops({ backend }: Context): AsyncGenerator<Row> {
  const data = ffnData([16, 64, 96]);
  const own = await ownFfn(backend, data);
  const few = await ownFfn(backend, { ...data, tokens: 1, input: data.input.slice(0, 64) });
  const gathered = own.gathered(Uint32Array.of(1, 2, 3, 5, 7, 8, 9, 10, 12, 13));
  yield await row('FFN, 16 rows', backend, own.call);
  yield await row('FFN, 10 of 16 rows', backend, gathered);
  yield await row('FFN, 1 row', backend, few.call);
  own.release();
  few.release();
  const empty = (...shape: number[]) => backend.empty({ dtype: 'f32', shape });
  const positions = (first: number, count: number) => backend.upload(Uint32Array.from({ length: count }, (_, i) => first + i));
  for (const [queries, keys] of [
    [16, 16],
    [1, 64],
    [1, 2048],
  ] as const) {
    const io = { q: empty(queries, 4, 16), k: empty(keys, 2, 16), v: empty(keys, 2, 16), o: empty(queries, 4, 16) };
    const lists = { qPositions: positions(keys - queries, queries), kPositions: positions(0, keys) };
    yield await row(`attention, ${queries} x ${keys}`, backend, () =>
      backend.run(attention, { ...io, ...lists }, { scale: 0.25, causal: true }),
    );
    for (const each of [...Object.values(io), ...Object.values(lists)]) each.dispose();
  }
  const cache = { k: empty(1, 64, 32), v: empty(1, 64, 32), keep: positions(8, 32) };
  const out = { kOut: empty(1, 32, 32), vOut: empty(1, 32, 32) };
  yield await row('compaction, out of place', backend, () => backend.run(compactKv, { ...cache, ...out }, {}));
  yield await row('compaction, in place', backend, () => backend.run(compactKv, cache, {}));
  for (const each of [...Object.values(cache), ...Object.values(out)]) each.dispose();
}

async function row(what: string, backend: Context['backend'], call: () => void): Promise<Row> {
  const counts = await counting(() => {
    call();
    return backend.flush();
  });
  return { what, ...counts };
}

async function* layers({ backend, progress }: Context, method: (typeof METHODS)[number]): AsyncGenerator<Row> {
  progress(`decoder, ${method.name}`);
  const found: Record<'prefill' | 'decode', Counts[]> = { prefill: [], decode: [] };
  for (const numLayers of [FEWER, MORE]) {
    using model = await Decoder.load(backend, randomSource(), llamaDecoder({ ...CONFIG, numLayers }), '');
    using run = new Run(model, method, TEXT, IMAGE);
    using meter = new Meter(backend);
    const finished = async (work: () => Promise<void>) => {
      await work();
      await backend.flush();
    };
    found.prefill.push(await counting(() => finished(() => run.prefill(meter, async () => {}))));
    found.decode.push(await counting(() => finished(() => run.decode(meter))));
  }
  for (const phase of ['prefill', 'decode'] as const) {
    const [fewer, more] = found[phase] as [Counts, Counts];
    const names = Object.keys(more) as (keyof Counts)[];
    yield {
      what: `decoder layer, ${phase}, ${method.name}`,
      ...Object.fromEntries(names.map((name) => [name, (more[name] - fewer[name]) / (MORE - FEWER)])),
    };
  }
}
