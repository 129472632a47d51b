/** `npm run bench -- cpu [--quick] [--json] [--only NAME,...] [--threads]`: every table of the wasm backend; --threads adds two threads. */
import { createWasmBackend } from '../../../src/backend/wasm/driver.ts';
import { attention } from './attention.ts';
import { ceiling } from './ceiling.ts';
import { compaction } from './compaction.ts';
import { decoder } from './decoder.ts';
import { ffn } from './ffn.ts';
import { gathered } from './gathered.ts';
import { Peers } from './peers.ts';
import { Probe } from './probe.ts';
import { quantized } from './quantized.ts';
import { type Filled, fill, judge, print, type Table } from './table.ts';

const TABLES: readonly Table[] = [ceiling, ffn, quantized, gathered, compaction, attention, decoder];

export interface CpuOptions {
  quick: boolean;
  json: boolean;
  /** Names of tables, separated by commas. */
  only?: string;
  /** Also on two threads. */
  threads: boolean;
}

export async function benchCpu({ quick, json, only, threads }: CpuOptions): Promise<void> {
  const names = only?.split(',');
  const unknown = names?.filter((name) => !TABLES.some((table) => table.name === name)) ?? [];
  if (unknown.length) throw new Error(`no table ${unknown.join(', ')}; there are ${TABLES.map((table) => table.name).join(', ')}`);
  await using backend = await createWasmBackend();
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
    effort: quick ? { rounds: 5, seconds: 1.5 } : { rounds: 12, seconds: 6 },
  };
  const filled: Filled[] = [];
  if (!json)
    console.log(
      `wasm (${backend.description}), Node ${process.version}, V8 ${process.versions.v8}. Ratios are what counts; rates depend on the machine and its neighbours.`,
    );
  for (const table of TABLES.filter(({ name }) => !names || names.includes(name))) {
    const progress = (text: string) => void process.stderr.write(`${table.name}: ${text}\n`);
    const result = await fill(table, { ...context, progress });
    filled.push(result);
    if (!json) print(result);
  }
  if (json) {
    const tables = Object.fromEntries(
      filled.map(({ table, rows, skipped, load }) => [
        table.name,
        { title: table.title, rows, targets: table.targets.flatMap((target) => judge(target, rows)), skipped, load },
      ]),
    );
    console.log(JSON.stringify({ runtime: `Node ${process.version}`, backend: backend.name, description: backend.description, tables }));
  }
}
