/** Causal attention over a whole prompt, and of one row against a cache, beside onnxruntime's GroupQueryAttention. */
import type { Backend } from '../../../src/backend/backend.ts';
import { createReferenceBackend } from '../../../src/backend/reference/driver.ts';
import { attention as attentionOp } from '../../../src/ops/attention.ts';
import { Random } from '../../random.ts';
import { difference, giga, uniform } from '../data.ts';
import { ratio, scaled } from '../measure.ts';
import type { AttentionSizes } from '../onnx.ts';
import type { Row } from '../table.ts';
import { type Chain, measureChains } from './chain.ts';
import type { Context, Table } from './context.ts';
import { versus } from './ffn.ts';
import { attentionChain } from './models.ts';
import { type Contender, type Feeds, ORT_NAMES } from './peers.ts';

const SMALL = { heads: 9, kvHeads: 3, headDim: 64 } as const;
const LARGE = { heads: 32, kvHeads: 8, headDim: 64 } as const;
/** Rows, and calls of the short chain: one call is far shorter than waiting for it. */
interface Case {
  sizes: AttentionSizes;
  queries: number;
  times: number;
}
const SOFTWARE: readonly Case[] = [
  { sizes: { ...SMALL, tokens: 160 }, queries: 160, times: 1 },
  { sizes: { ...SMALL, tokens: 640 }, queries: 1, times: 4 },
];
const HARDWARE: readonly Case[] = [
  { sizes: { ...SMALL, tokens: 640 }, queries: 640, times: 8 },
  { sizes: { ...LARGE, tokens: 1024 }, queries: 1024, times: 4 },
  { sizes: { ...LARGE, tokens: 4096 }, queries: 4096, times: 1 },
  { sizes: { ...SMALL, tokens: 640 }, queries: 1, times: 16 },
  { sizes: { ...LARGE, tokens: 4096 }, queries: 1, times: 16 },
];
const TOY: readonly Case[] = [{ sizes: { ...SMALL, tokens: 16 }, queries: 16, times: 1 }];
const BOUND = 1e-5;

export const attention: Table = {
  name: 'attention',
  title: 'Causal f32 attention: GFLOP/s of the causal half, and GB/s of keys and values (median)',
  legend: [
    "A block is one call, whose result is the next one's query. of FMA, of read: share of the adapter's multiply-adds, and of reading memory, same rounds.",
    'ort-...: GroupQueryAttention of onnxruntime, its cache as an input: it writes a longer one in every call.',
    `difference: of the last rows to the reference backend, over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [{ kind: 'aim', what: "vs the best of onnxruntime's GroupQueryAttention", column: 'vs best', atLeast: 1 }],
  async *rows(context) {
    const cases = context.smoke ? TOY : context.software ? SOFTWARE : HARDWARE;
    for (const each of cases) yield await benchCase(context, each);
  },
};

type Data = Record<'q' | 'k' | 'v', Float32Array>;

/** The last `queries` of `tokens` rows against all of them. */
function own(backend: Backend, { tokens, heads, kvHeads, headDim }: AttentionSizes, queries: number, data: Data): Contender {
  const positions = (start: number, end: number) => backend.upload(Uint32Array.from({ length: end - start }, (_, i) => start + i));
  const shape = [queries, heads, headDim];
  const [first, second] = [backend.upload(data.q, shape), backend.empty({ dtype: 'f32', shape })];
  const q = backend.upload(data.q, shape);
  const rest = {
    k: backend.upload(data.k, [tokens, kvHeads, headDim]),
    v: backend.upload(data.v, [tokens, kvHeads, headDim]),
    qPositions: positions(tokens - queries, tokens),
    kPositions: positions(0, tokens),
  };
  const chain = (blocks: number) => {
    let [from, to] = [q, second];
    for (let i = 0; i < blocks; i++) {
      backend.run(attentionOp, { ...rest, q: from, o: to }, { scale: headDim ** -0.5, causal: true });
      [from, to] = [to, to === second ? first : second];
    }
    return backend.read(from);
  };
  const release = () => {
    for (const each of [first, second, q, ...Object.values(rest)]) each.dispose();
  };
  return { chain, release };
}

async function benchCase(context: Context, { sizes, queries, times: repeats }: Case): Promise<Row> {
  const { backend, peers, probe, skip, effort } = context;
  const { tokens, heads, kvHeads, headDim } = sizes;
  const what = `${queries} x ${tokens}, ${heads}/${kvHeads} heads of ${headDim}`;
  context.progress(what);
  const random = new Random(tokens * heads);
  const data: Data = {
    q: uniform(random, queries * heads * headDim, 2),
    k: uniform(random, tokens * kvHeads * headDim, 2),
    v: uniform(random, tokens * kvHeads * headDim, 1),
  };
  const contenders: Record<string, Contender> = { ours: own(backend, sizes, queries, data) };
  for (const name of ORT_NAMES) {
    const contender = await peers.ort(name, (blocks) => attentionChain(sizes, queries, blocks), feedsOf(sizes, queries, data), skip);
    if (contender) contenders[name] = contender;
  }
  try {
    const expected = await lastRows(sizes, queries, data);
    const differences = new Map<string, number>();
    for (const [name, { chain }] of Object.entries(contenders)) {
      const found = (await chain(1)) as Float32Array;
      differences.set(name, difference(found.subarray(found.length - expected.length), expected));
    }
    for (const [name, value] of differences)
      if (name !== 'ours' && !(value <= BOUND)) skip(`${name}: timed, but its result is off by ${value.toExponential(0)} at ${what}`);
    const [fma, read] = [probe.rate('FMA f32')!, probe.rate('read')!];
    const names = Object.keys(contenders);
    const chains: Record<string, Chain> = { fma: fma.chain, read: read.chain };
    for (const name of names) chains[name] = (blocks) => contenders[name]!.chain(blocks * repeats);
    const walls = await measureChains(chains, effort);
    const times = Object.fromEntries(
      Object.entries(walls).map(([name, time]) => [name, names.includes(name) ? scaled(time, 1 / repeats) : time]),
    );
    const pairs = queries * (tokens - queries) + (queries * (queries + 1)) / 2;
    const [flops, bytes] = [4 * heads * headDim * pairs, 2 * data.k.byteLength];
    const isRow = queries === 1;
    return {
      what,
      'ours ms': times.ours!.median,
      ...Object.fromEntries(names.map((name) => [name, giga(isRow ? bytes : flops, times[name]!.median)])),
      unit: isRow ? 'GB/s' : 'Gop/s',
      [isRow ? 'of read' : 'of FMA']: ratio(
        scaled(isRow ? times.read! : times.fma!, isRow ? bytes / read.amount : flops / fma.amount),
        times.ours!,
      ),
      ...versus(times, names.slice(1)),
      difference: `${differences.get('ours')!.toExponential(0)}${differences.get('ours')! <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of Object.values(contenders)) await each.release();
  }
}

/** The last four rows of the result, or all there are, by the reference backend. */
async function lastRows({ tokens, heads, kvHeads, headDim }: AttentionSizes, queries: number, { q, k, v }: Data): Promise<Float32Array> {
  const rows = Math.min(4, queries);
  const reference = createReferenceBackend();
  const positions = Uint32Array.from({ length: tokens }, (_, i) => i);
  const o = reference.empty({ dtype: 'f32', shape: [rows, heads, headDim] });
  const io = {
    q: reference.upload(q.slice(q.length - rows * heads * headDim), [rows, heads, headDim]),
    k: reference.upload(k, [tokens, kvHeads, headDim]),
    v: reference.upload(v, [tokens, kvHeads, headDim]),
    qPositions: reference.upload(positions.slice(tokens - rows)),
    kPositions: reference.upload(positions),
  };
  reference.run(attentionOp, { ...io, o }, { scale: headDim ** -0.5, causal: true });
  return reference.read(o);
}

/** The rows before the last `queries` are the past, [1, kvHeads, rows, headDim]. */
function feedsOf({ tokens, heads, kvHeads, headDim }: AttentionSizes, queries: number, { q, k, v }: Data): Feeds {
  const past = tokens - queries;
  const width = kvHeads * headDim;
  const byHead = (data: Float32Array) => {
    const result = new Float32Array(past * width);
    for (let row = 0; row < past; row++)
      for (let head = 0; head < kvHeads; head++) {
        const at = row * width + head * headDim;
        result.set(data.subarray(at, at + headDim), (head * past + row) * headDim);
      }
    return result;
  };
  const cache = [1, kvHeads, past, headDim];
  const before: Feeds = past ? { pastK: [byHead(k), cache], pastV: [byHead(v), cache] } : {};
  return {
    q: [q, [1, queries, heads * headDim]],
    k: [k.slice(past * width), [1, queries, width]],
    v: [v.slice(past * width), [1, queries, width]],
    ...before,
  };
}
