/** Whole decoders with random weights: a plain prompt against one of Skip-Vision, time beside counted FLOPs. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { LlamaSizes } from '../../../src/model/families/blocks.ts';
import type { DecoderSpec } from '../../../src/model/stack/decoder.ts';
import { Scope } from '../../../src/model/stack/work.ts';
import { type Build, noSlower, OURS } from '../against.ts';
import { median } from '../measure.ts';
import { inTurns } from '../turns.ts';
import { Meter, randomSource, type Run } from '../decoder-run.ts';
import { giga } from '../data.ts';
import type { Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const smol = { rmsNormEps: 1e-5, ropeTheta: 1e5, hiddenAct: 'silu', headDim: 64 } as const;
const MODELS: Readonly<Record<string, LlamaSizes>> = {
  'SmolLM2-135M': { ...smol, hiddenSize: 576, intermediateSize: 1536, numLayers: 30, numHeads: 9, numKvHeads: 3 },
  'SmolLM2-360M': { ...smol, hiddenSize: 960, intermediateSize: 2560, numLayers: 32, numHeads: 15, numKvHeads: 5 },
  'LLaMA-7B, 2 layers': {
    ...smol,
    hiddenSize: 4096,
    intermediateSize: 11008,
    numLayers: 2,
    numHeads: 32,
    numKvHeads: 32,
    headDim: 128,
    ropeTheta: 1e4,
  },
};
const TEXT = 64;
const IMAGE = 576;
const SKIP = { retained: 100, skipped: 156 } as const;
const DECODED = 64;
/** Tokens that are judged together: single ones are interrupted now and then. */
const WINDOW = 8;
/** Ops that do the multiply-adds; the others should not be seen. */
const PRODUCTS = ['linear', 'gathered_ffn', 'attention'] as const;

const isSkip = (row: Row) => row.method === 'skip-vision';

export const decoder: Table = {
  name: 'decoder',
  title: `Decoders with random f32 weights, ${TEXT} text + ${IMAGE} image rows, one thread; Skip-Vision (${SKIP.retained}, ${SKIP.skipped})`,
  legend: [
    'Both prompts run in turns, layer by layer and token by token. prefill: milliseconds, the sum over the layers of the fastest of the rounds; Skip-Vision with its compose step.',
    'time, FLOPs: over the plain prompt; FLOPs as counted by trace. time - FLOPs: 0 means that every FLOP saved is time saved.',
    `decode: milliseconds a token (median of ${DECODED}, after the prompt; without the vocabulary) and GB/s of weights, keys and values; decode rest: the share outside of ops.`,
    `decode time: over the plain prompt's, median; at worst: the largest median of ${WINDOW} tokens in a row.`,
    'Shares of prefill time by op; rest: norms, rope, cache, checks and JavaScript.',
  ],
  targets: [
    noSlower('new/old', 1),
    noSlower('decode new/old', 1),
    { kind: 'aim', what: 'share of prefill outside linear, FFN and attention', column: 'rest', atMost: 0.1 },
    { what: 'Skip-Vision, time ratio minus FLOP ratio', column: 'time - FLOPs', atMost: 0.04, where: isSkip },
    { what: 'Skip-Vision, time of a token over that with all keys', column: 'at worst', atMost: 1, where: isSkip },
  ],
  async *rows(context) {
    const models = Object.entries(MODELS).slice(0, context.quick ? 2 : undefined);
    for (const [name, config] of models) yield* benchModel(context, name, config);
  },
};

async function* benchModel(context: Context, name: string, config: LlamaSizes): AsyncGenerator<Row> {
  const { before } = context;
  // Memory that is asked for first is slower or faster than what is asked for after it: see `duel`.
  const passes = [await benchPass(context, name, config, before && 'ours first')];
  if (before) passes.push(await benchPass(context, name, config, 'theirs first'));
  const [{ runs }] = passes as [Pass];
  const [plain] = runs;
  for (const [i, run] of runs.entries()) {
    const { milliseconds, flops, byOp } = run.summary();
    const base = plain.summary();
    const shares = PRODUCTS.map((op) => [op, (byOp.get(op) ?? 0) / milliseconds] as const);
    const ratios = run.tokens.map((token, i) => token.milliseconds / plain.tokens[i]!.milliseconds);
    const windows = ratios.slice(WINDOW - 1).map((_, i) => median(ratios.slice(i, i + WINDOW)));
    const [time, work] = [milliseconds / base.milliseconds, flops / base.flops];
    yield {
      model: name,
      method: run.method.name,
      prefill: milliseconds,
      'GFLOP/s': giga(flops, milliseconds),
      time,
      FLOPs: work,
      'time - FLOPs': time - work,
      decode: median(run.tokens.map((token) => token.milliseconds)),
      'decode time': median(ratios),
      'at worst': Math.max(...windows),
      'decode GB/s': median(run.tokens.map((token) => giga(token.bytes, token.milliseconds))),
      'decode rest': median(
        run.tokens.map(({ milliseconds, byOp }) => 1 - [...byOp.values()].reduce((sum, ms) => sum + ms, 0) / milliseconds),
      ),
      'new/old': before && overOther(passes, i, (mine, other) => mine.summary().milliseconds / other.summary().milliseconds),
      'decode new/old': before && overOther(passes, i, tokenRatio),
      'KV MB': run.kvBytes / 1e6,
      ...Object.fromEntries(shares),
      rest: 1 - shares.reduce((sum, [, share]) => sum + share, 0),
      ...Object.fromEntries(['rms_norm', 'rope_append', 'compact_kv'].map((op) => [op, (byOp.get(op) ?? 0) / milliseconds])),
    };
  }
}

interface Pass {
  /** Of this build: a plain prompt, and one of Skip-Vision. */
  runs: readonly Run[];
  /** The same of the other build. */
  others: readonly Run[];
}

/** Geometric mean over the passes. */
function overOther(passes: readonly Pass[], i: number, over: (mine: Run, other: Run) => number): number {
  return passes.reduce((product, { runs, others }) => product * over(runs[i]!, others[i]!), 1) ** (1 / passes.length);
}

function tokenRatio(mine: Run, other: Run): number {
  return median(mine.tokens.map((token, t) => token.milliseconds / other.tokens[t]!.milliseconds));
}

/** On backends of its own, so that the weights lie in memory that nobody had before. */
async function benchPass(
  { before, progress, quick }: Context,
  name: string,
  config: LlamaSizes,
  order: 'ours first' | 'theirs first' | undefined,
): Promise<Pass> {
  progress(`${name}: random weights${order ? `, ${order}` : ''}`);
  using made = new Scope();
  const backends: Backend[] = [];
  const open = async ({ fresh, Decoder, llamaDecoder, methods, Run }: Build) => {
    const backend = await fresh.best();
    backends.push(backend);
    const model = made.keep(await Decoder.load(backend, randomSource(), (llamaDecoder?.(config) ?? config) as DecoderSpec, ''));
    const meter = made.keep(new Meter(backend));
    return [methods.none(), methods.skipVision(SKIP)].map((method) => ({ run: made.keep(new Run(model, method, TEXT, IMAGE)), meter }));
  };
  const early = order === 'theirs first' ? await open(before!) : undefined;
  const runs = await open(OURS);
  const others = early ?? (before ? await open(before) : []);
  const all = [...runs, ...others];
  for (let round = 0; round < (quick || before ? 2 : 4); round++) {
    progress(`${name}: prefill, round ${round + 1}`);
    await inTurns(
      all.map(
        ({ run, meter }) =>
          (turn) =>
            run.prefill(meter, turn),
      ),
    );
  }
  progress(`${name}: decode`);
  await inTurns(
    all.map(({ run, meter }) => async (turn) => {
      for (let token = 0; token < DECODED; token++) {
        await run.decode(meter);
        await turn();
      }
    }),
  );
  for (const each of backends) await each[Symbol.asyncDispose]();
  const runsOf = (side: typeof all) => side.map(({ run }) => run);
  return { runs: runsOf(runs), others: runsOf(others) };
}
