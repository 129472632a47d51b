/** Attention over a whole prompt, and of one row against a cache. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { Tensor } from '../../../src/backend/tensor.ts';
import { attention as attentionOp } from '../../../src/ops/attention.ts';
import { linear } from '../../../src/ops/linear.ts';
import { Random } from '../../random.ts';
import { duel, noSlower } from '../against.ts';
import { measureInTurn, ratio, scaled, type Work } from '../measure.ts';
import { type AttentionSizes, attentionModel, fusedAttentionModel } from '../onnx.ts';
import { linearMemory } from './ceiling.ts';
import { difference, giga, uniform } from '../data.ts';
import type { Contender } from './peers.ts';
import { Probe, peakFloat } from './probe.ts';
import type { Cell, Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const TOKENS = 640;
const PREFILL: readonly AttentionSizes[] = [
  { tokens: TOKENS, heads: 9, kvHeads: 3, headDim: 64 },
  { tokens: TOKENS, heads: 8, kvHeads: 2, headDim: 128 },
  { tokens: TOKENS, heads: 32, kvHeads: 32, headDim: 128 },
];
const CACHED = [640, 4096] as const;
const BOUND = 1e-5;

export const attention: Table = {
  name: 'attention',
  title: 'Causal attention, one thread: prefill in GFLOP/s, one row in GB/s of keys and values (best)',
  legend: [
    'prefill counts the causal half only: 4 * heads * head dim * tokens (tokens + 1) / 2; a peer that computes the whole square does twice that.',
    'of GEMM: rate over that of a square linear with K = heads * head dim on as many tokens, same rounds. ort-web: MatMul, mask, Softmax, MatMul; ort-gqa: its GroupQueryAttention.',
    'of bound: of the slower one of reading the bytes and doing the multiply-adds in registers, same rounds.',
    `difference: largest one to any peer over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [
    noSlower('new/old'),
    noSlower('simd new/old'),
    { what: 'prefill, share of the GEMM rate', column: 'of GEMM', atLeast: 0.55 },
    { what: 'prefill vs onnxruntime-web', column: 'vs ort-web', atLeast: 2, where: (row) => row['of GEMM'] !== undefined },
    { kind: 'aim', what: 'one row, share of the bound', column: 'of bound', atLeast: 0.6 },
  ],
  async *rows(context) {
    for (const sizes of context.quick ? PREFILL.slice(0, 2) : PREFILL) yield await benchPrefill(context, sizes);
    for (const sizes of context.quick ? PREFILL.slice(0, 1) : PREFILL) {
      for (const keys of CACHED) yield await benchRow(context, { ...sizes, tokens: keys });
    }
  },
};

function label({ heads, kvHeads, headDim }: AttentionSizes): string {
  return `${heads}/${kvHeads} heads of ${headDim}`;
}

interface Own extends Contender {
  /** Address of the keys. */
  keys: number;
}

type Data = Record<'q' | 'k' | 'v', Float32Array>;

function own(backend: Backend, sizes: AttentionSizes, queries: number, data: Data): Own {
  const { memory, allocate, free } = linearMemory(backend);
  const keys = allocate(data.k.byteLength);
  new Float32Array(memory.buffer, keys, data.k.length).set(data.k);
  const k = backend.borrow({ memory, pointer: keys }, { dtype: 'f32', shape: [sizes.tokens, sizes.kvHeads, sizes.headDim] });
  const contender = attend(backend, attentionOp, sizes, queries, data, k);
  const release = () => {
    contender.release();
    free(keys);
  };
  return { ...contender, keys, release };
}

/** Columns for the other build. */
async function besideOther({ before, effort }: Context, sizes: AttentionSizes, queries: number, data: Data): Promise<Row> {
  if (!before) return {};
  const shape = [sizes.tokens, sizes.kvHeads, sizes.headDim];
  const beside = (kind: 'best' | 'plain') =>
    duel(before, kind, effort, (ops, side) => attend(side, ops.attention, sizes, queries, data, side.upload(data.k, shape)).call);
  return { 'new/old': await beside('best'), 'simd new/old': await beside('plain') };
}

/** The last `queries` of `tokens` rows against all of them. */
function attend(
  backend: Backend,
  op: typeof attentionOp,
  { tokens, heads, kvHeads, headDim }: AttentionSizes,
  queries: number,
  data: Data,
  k: Tensor<'f32'>,
): Contender {
  const range = (start: number, end: number) => Uint32Array.from({ length: end - start }, (_, i) => start + i);
  const q = backend.upload(data.q, [queries, heads, headDim]);
  const v = backend.upload(data.v, [tokens, kvHeads, headDim]);
  const o = backend.empty({ dtype: 'f32', shape: [queries, heads, headDim] });
  const qPositions = backend.upload(range(tokens - queries, tokens));
  const kPositions = backend.upload(range(0, tokens));
  const call = () => backend.run(op, { q, k, v, qPositions, kPositions, o }, { scale: headDim ** -0.5, causal: true });
  const result = async () => {
    call();
    return backend.read(o);
  };
  const release = () => {
    for (const each of [q, k, v, o, qPositions, kPositions]) each.dispose();
  };
  return { call, result, release };
}

async function benchPrefill(context: Context, sizes: AttentionSizes): Promise<Row> {
  const { backend, baseline, peers, skip, effort } = context;
  const { tokens: T, heads, kvHeads, headDim } = sizes;
  context.progress(`prefill ${label(sizes)}`);
  const random = new Random(heads * headDim);
  const data = {
    q: uniform(random, T * heads * headDim, 2),
    k: uniform(random, T * kvHeads * headDim, 2),
    v: uniform(random, T * kvHeads * headDim, 1),
  };
  const contenders: Record<string, Contender> = { ours: own(backend, sizes, T, data), simd: own(baseline, sizes, T, data) };
  const kv = [T, kvHeads, 1, headDim];
  const plain = { q: [data.q, [T, kvHeads, heads / kvHeads, headDim]], k: [data.k, kv], v: [data.v, kv] } as const;
  const flat = {
    q: [data.q, [1, T, heads * headDim]],
    k: [data.k, [1, T, kvHeads * headDim]],
    v: [data.v, [1, T, kvHeads * headDim]],
  } as const;
  for (const [name, peer, model, feeds] of [
    ['ort-web', 'web', attentionModel, plain],
    ['ort-gqa', 'web', fusedAttentionModel, flat],
    ['ort-node gqa', 'node', fusedAttentionModel, flat],
  ] as const) {
    const contender = await peers.ort(peer, () => model(sizes), feeds, skip);
    if (contender) contenders[name] = contender;
  }
  const width = heads * headDim;
  using x = backend.upload(data.q, [T, width]);
  using y = backend.empty({ dtype: 'f32', shape: [T, width] });
  using weight = await backend.pack({ data: uniform(random, width * width, 0.1), shape: [width, width] });
  try {
    const ours = await contenders.ours!.result();
    let worst = 0;
    for (const each of Object.values(contenders)) worst = Math.max(worst, difference(ours, await each.result()));
    const work: Record<string, Work> = { gemm: () => backend.run(linear, { x, weight, y }, {}) };
    for (const [name, { call }] of Object.entries(contenders)) work[name] = call;
    const times = await measureInTurn(work, effort);
    const flops = 2 * heads * headDim * T * (T + 1);
    const gemmFlops = 2 * T * width * width;
    const rates = Object.fromEntries(Object.keys(contenders).map((name) => [name, giga(flops, times[name]!.best)]));
    const vs: Record<string, Cell> = {};
    for (const name of Object.keys(contenders)) if (name.startsWith('ort')) vs[`vs ${name}`] = ratio(times[name]!, times.ours!);
    return {
      what: `prefill ${T}, ${label(sizes)}`,
      ...rates,
      GEMM: giga(gemmFlops, times.gemm!.best),
      'of GEMM': ratio(scaled(times.gemm!, flops / gemmFlops), times.ours!),
      ...vs,
      ...(await besideOther(context, sizes, T, data)),
      difference: `${worst.toExponential(0)}${worst <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of Object.values(contenders)) await each.release();
  }
}

/** One query row against `tokens` keys; the read is of the keys, twice. */
async function benchRow(context: Context, sizes: AttentionSizes): Promise<Row> {
  const { backend, baseline, effort, progress } = context;
  const { tokens, heads, kvHeads, headDim } = sizes;
  progress(`one row, ${tokens} keys, ${label(sizes)}`);
  const random = new Random(tokens);
  const data = {
    q: uniform(random, heads * headDim, 2),
    k: uniform(random, tokens * kvHeads * headDim, 2),
    v: uniform(random, tokens * kvHeads * headDim, 1),
  };
  const [ours, simd] = [own(backend, sizes, 1, data), own(baseline, sizes, 1, data)];
  const probe = new Probe(linearMemory(backend).memory);
  const bytes = 2 * data.k.byteLength;
  const read = () => {
    probe.read(ours.keys, bytes / 2);
    probe.read(ours.keys, bytes / 2);
  };
  const peak = peakFloat(new Probe(), true);
  const times = await measureInTurn({ ours: ours.call, simd: simd.call, read, peak: peak.call }, effort);
  const flops = 4 * heads * headDim * tokens;
  const compute = scaled(times.peak!, flops / peak.operations);
  const bound = {
    ...times.read!,
    rounds: times.read!.rounds.map((time, round) => Math.max(time, compute.rounds[round]!)),
    best: Math.max(times.read!.best, compute.best),
  };
  ours.release();
  simd.release();
  const rate = (ms: number) => giga(bytes, ms);
  return {
    what: `1 x ${tokens}, ${label(sizes)}`,
    ours: rate(times.ours!.best),
    simd: rate(times.simd!.best),
    read: rate(times.read!.best),
    'GFLOP/s': giga(flops, times.ours!.best),
    'of bound': ratio(bound, times.ours!),
    ...(await besideOther(context, sizes, 1, data)),
  };
}
