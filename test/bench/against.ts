/** Another build of this package, a checkout with its dist: the tables run it beside this one, in the same rounds. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Backend } from '../../src/backend/backend.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import type { none, skipVision } from '../../src/methods/index.ts';
import type { Decoder, llamaDecoder } from '../../src/model/index.ts';
import type { Run } from './decoder-run.ts';
import { type Effort, measureInTurn, type Ratio, ratio, type Work } from './measure.ts';
import type { Target } from './table.ts';

/** Backends with memory of their own: `best` as it comes, `plain` without relaxed SIMD. */
export type Fresh = Readonly<Record<'best' | 'plain', () => Promise<Backend>>>;

/** Of this build. */
export const FRESH: Fresh = { best: () => createWasmBackend(), plain: () => createWasmBackend({ variant: 'simd128' }) };

/** What is used of it, with the types of now: its public API, and how its own benchmark runs a decoder. */
export interface Build {
  fresh: Fresh;
  ops: typeof import('../../src/ops/index.ts');
  Decoder: typeof Decoder;
  /** Absent in builds whose decoders take sizes themselves. */
  llamaDecoder?: typeof llamaDecoder;
  methods: { none: typeof none; skipVision: typeof skipVision };
  Run: typeof Run;
}

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

export interface Contender {
  call: Work;
  release(): unknown;
}
type Make = () => Promise<Contender>;

/** A contender on a fresh backend, which goes with it. */
export const onFresh =
  (create: () => Promise<Backend>, make: (backend: Backend) => Contender | Promise<Contender>): Make =>
  async () => {
    const backend = await create();
    const { call, release } = await make(backend);
    const releaseAll = async () => {
      await release();
      await backend[Symbol.asyncDispose]();
    };
    return { call, release: releaseAll };
  };

/**
 * The time of ours over that of theirs. The two alone, as a machine that changes its speed while ten contenders take their turn would be
 * in the ratio. Twice, each on memory that nobody had before: what is asked for first is up to 7 % slower than what is asked for after it, or
 * faster, by what the machine has left. Ours comes first once, theirs the other time, and the ratios' geometric mean counts.
 */
export async function duel(ours: Make, theirs: Make, { rounds, seconds }: Effort): Promise<Ratio> {
  const made = [await ours(), await theirs(), await theirs(), await ours()] as const;
  const effort = { rounds, seconds: seconds / 2 };
  const ratios: Ratio[] = [];
  for (const [one, other] of [made.slice(0, 2), made.slice(2).reverse()] as [Contender, Contender][]) {
    const times = await measureInTurn({ ours: one.call, theirs: other.call }, effort);
    ratios.push(ratio(times.ours, times.theirs));
  }
  for (const each of made) await each.release();
  const mean = (of: keyof Ratio) => Math.sqrt(ratios[0]![of] * ratios[1]![of]);
  return { median: mean('median'), best: mean('best') };
}
