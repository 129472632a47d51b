/** Another build of this package, a checkout with its dist: the tables run it beside this one, in the same rounds. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Backend } from '../../src/backend/backend.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { none, skipVision } from '../../src/methods/index.ts';
import { Decoder, llamaDecoder } from '../../src/model/index.ts';
import * as ops from '../../src/ops/index.ts';
import { Run } from './decoder-run.ts';
import { type Effort, measureInTurn, type Ratio, ratio, type Work } from './measure.ts';
import type { Target } from './table.ts';

/** Backends with memory of their own: `best` as it comes, `plain` without relaxed SIMD. */
type Fresh = Readonly<Record<'best' | 'plain', () => Promise<Backend>>>;

/** What is used of it, with the types of now: its public API, and how its own benchmark runs a decoder. */
export interface Build {
  fresh: Fresh;
  ops: typeof ops;
  Decoder: typeof Decoder;
  /** Absent in builds whose decoders take sizes themselves. */
  llamaDecoder?: typeof llamaDecoder;
  methods: { none: typeof none; skipVision: typeof skipVision };
  Run: typeof Run;
}

export const OURS: Build = {
  fresh: { best: () => createWasmBackend(), plain: () => createWasmBackend({ variant: 'simd128' }) },
  ops,
  Decoder,
  llamaDecoder,
  methods: { none, skipVision },
  Run,
};

/** With tiles of the rows that `ours` has: builds may choose otherwise, which says nothing about their kernels. */
export async function openBuild(folder: string, ours: Backend): Promise<Build> {
  const load = (file: string) => import(pathToFileURL(path.resolve(folder, file)).href);
  const { createWasmBackend: create } = await load('dist/backend/wasm.js');
  const tileRows = ours.description.includes('6x8 tiles') ? 6 : 4;
  return {
    fresh: { best: () => create({ tileRows }), plain: () => create({ variant: 'simd128' }) },
    ops: await load('dist/ops.js'),
    Decoder: (await load('dist/model.js')).Decoder,
    llamaDecoder: (await load('dist/model.js')).llamaDecoder,
    methods: await load('dist/methods.js'),
    Run: (await load('test/bench/decoder-run.ts')).Run,
  };
}

/** For the columns of times over those of the other build. */
export const noSlower = (column: string, atMost = 1.03): Target => ({
  what: `${column}: time over that of the other build`,
  column,
  atMost,
});

/**
 * The time of ours over that of theirs, of the call that `make` gives. The two alone, as a machine that changes its speed while ten
 * contenders take their turn would be in the ratio. Twice, each on memory that nobody had before: what is asked for first is up to 7 %
 * slower than what is asked for after it, or faster, by what the machine has left. Ours comes first once, theirs the other time, and
 * the ratios' geometric mean counts.
 */
export async function duel(
  before: Build,
  kind: keyof Fresh,
  { rounds, seconds }: Effort,
  make: (ops: Build['ops'], backend: Backend) => Work | Promise<Work>,
): Promise<Ratio> {
  const backends: Backend[] = [];
  const calls: Work[] = [];
  for (const build of [OURS, before, before, OURS]) {
    const backend = await build.fresh[kind]();
    backends.push(backend);
    calls.push(await make(build.ops, backend));
  }
  const [ours, theirs, theirsAgain, oursAgain] = calls as [Work, Work, Work, Work];
  const effort = { rounds, seconds: seconds / 2 };
  const ratios: Ratio[] = [];
  for (const pair of [
    { ours, theirs },
    { ours: oursAgain, theirs: theirsAgain },
  ]) {
    const times = await measureInTurn(pair, effort);
    ratios.push(ratio(times.ours, times.theirs));
  }
  for (const backend of backends) await backend[Symbol.asyncDispose]();
  const mean = (of: keyof Ratio) => Math.sqrt(ratios[0]![of] * ratios[1]![of]);
  return { median: mean('median'), best: mean('best') };
}
