/**
 * `npm run bench -- cpu [--quick] [--json] [--only NAME,...] [--threads] [--against DIR]`: every table of the wasm backend. --threads
 * adds two threads, --against the build of another commit: DIR is a checkout of it, installed and built.
 */
import { createWasmBackend } from '../../../src/backend/wasm/driver.ts';
import { openBuild } from '../against.ts';
import { chooseTables, fillAll, plain, print } from '../table.ts';
import { attention } from './attention.ts';
import { ceiling } from './ceiling.ts';
import { compaction } from './compaction.ts';
import { decoder } from './decoder.ts';
import { ffn } from './ffn.ts';
import { gathered } from './gathered.ts';
import { Peers } from './peers.ts';
import { Probe } from './probe.ts';
import { quantized } from './quantized.ts';
import type { Table } from './context.ts';

const TABLES: readonly Table[] = [ceiling, ffn, quantized, gathered, compaction, attention, decoder];

export interface CpuOptions {
  quick: boolean;
  json: boolean;
  /** Names of tables, separated by commas. */
  only?: string;
  /** Also on two threads. */
  threads: boolean;
  /** A built checkout of another commit. */
  against?: string;
}

export async function benchCpu({ quick, json, only, threads, against }: CpuOptions): Promise<void> {
  const tables = chooseTables(TABLES, only);
  await using backend = await createWasmBackend();
  const before = against === undefined ? undefined : await openBuild(against, backend);
  await using baseline = await createWasmBackend({ variant: 'simd128' });
  await using widened = await createWasmBackend({ wide: true });
  await using threaded = threads ? await createWasmBackend({ threads: 2 }) : undefined;
  if (threaded && !threaded.features.has('threads')) throw new Error(`--threads: ${threaded.description}`);
  const context = {
    backend,
    baseline,
    wide: widened.features.has('wide-simd') ? widened : undefined,
    probe: new Probe(),
    peers: new Peers(),
    quick,
    threaded,
    before,
    effort: quick ? { rounds: 5, seconds: 1.5 } : { rounds: 12, seconds: 6 },
  };
  if (!json)
    console.log(
      `wasm (${backend.description}), Node ${process.version}, V8 ${process.versions.v8}. Ratios are what counts; rates depend on the machine and its neighbours.`,
    );
  if (!json && before) console.log(`old: the build in ${against}`);
  const filled = await fillAll(tables, context, json ? () => {} : print);
  if (json) {
    const head = { runtime: `Node ${process.version}`, backend: backend.name, description: backend.description };
    const byName = Object.fromEntries(filled.map((each) => [each.table.name, plain(each)]));
    console.log(JSON.stringify({ ...head, tables: byName }));
  }
}
