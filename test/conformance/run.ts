/**
 * `npm run conformance -- DIR... [options]`: runs every case file under the folders, prints what runs them, a line per failing case,
 * then `N passed, N failed, N skipped`. Exit status 1 on a failure or when no case ran. Options: see USAGE. `--threads` above 1 shares
 * every call, however small; `--without` has the engine leave instructions of the CPU aside; `--all` runs a backend, wasm by
 * default, in every combination of the other options and on every software GPU, a line each.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { ADAPTER_NAMES, ensureDriver, nodeGpu, type SoftwareAdapter } from '../gpu.ts';
import { note } from '../runner/journal.ts';
import { combinationsOf, runAgain, runCombinations } from './combinations.ts';
import { caseFiles } from './files.ts';
import { flagsWithout, instructionsOf } from './instructions.ts';
import { backendOf, type Job, type Machine, type Outcome, runJob } from './job.ts';

const USAGE = `usage: npm run conformance -- DIR... [--backend reference|wasm|webgpu] [--runtime node|deno|chromium] [--only OP]
       npm run conformance -- DIR... --backend wasm [--variant simd128|relaxed] [--threads N] [--without fma,vnni] ...
       npm run conformance -- DIR... --backend webgpu [--adapter lavapipe|swiftshader] ...
       npm run conformance -- DIR... --all [--backend wasm|webgpu] [--runtime node|deno|chromium] [--adapter ...] [--only OP]
--without and --adapter: in Node only`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      backend: { type: 'string' },
      runtime: { type: 'string', default: 'node' },
      variant: { type: 'string', default: 'simd128' },
      threads: { type: 'string', default: '1' },
      without: { type: 'string', default: '' },
      adapter: { type: 'string' },
      all: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  });
  const { runtime, variant, only, all } = values;
  const adapter = values.adapter as SoftwareAdapter | undefined;
  const without = instructionsOf(values.without);
  const backend = values.backend ?? (all ? 'wasm' : 'reference');
  const job = { backend, variant, threads: Number(values.threads), without: without ?? [], only, files: [] };
  const possible =
    ['node', 'deno', 'chromium'].includes(runtime) &&
    (runtime === 'node' || !(values.without || adapter)) &&
    (!adapter || (backend === 'webgpu' && Object.hasOwn(ADAPTER_NAMES, adapter))) &&
    !(all && backend === 'reference');
  if (positionals.length === 0 || !possible || !without || !backendOf(job)) return refuse(USAGE);
  const missing = positionals.find((folder) => !existsSync(folder));
  if (missing) return refuse(`there is no ${missing}`);
  if (backend === 'webgpu') ensureDriver();
  if (all) return runCombinations(positionals, combinationsOf(backend as 'wasm' | 'webgpu', runtime, adapter), { backend, runtime, only });
  const flags = flagsWithout(without).filter((flag) => !process.execArgv.includes(flag));
  if (flags.length > 0) return runAgain(flags);
  return runOne({ ...job, files: caseFiles(positionals) }, runtime, adapter);
}

async function runOne(job: Job, runtime: string, adapter?: SoftwareAdapter): Promise<number> {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const skippedOps = new Map<string, number>();
  const tell = (line: Machine | Outcome) => {
    if (!('file' in line)) {
      console.log(describe(line, job));
      const trouble = otherMachine(line, runtime, adapter);
      if (trouble) throw new Error(trouble);
      return;
    }
    const { file, op, status, message } = line;
    totals[status]++;
    if (status === 'passed') note({ passed: 1 });
    else if (status === 'failed') fail(`${file}: ${op}: ${message}`);
    else skippedOps.set(op, (skippedOps.get(op) ?? 0) + 1);
  };
  try {
    if (runtime === 'node') await runJob(job, readFile, tell, () => nodeGpu(adapter));
    // what it imports is not there where only Node is, as in the bundle of the benchmarks
    else await (await import('./elsewhere.ts')).runElsewhere(runtime, job, tell);
  } catch (error) {
    totals.failed++;
    fail(`${job.backend} in ${runtime}: ${error instanceof Error ? error.message : String(error)}`);
  }
  for (const [op, count] of skippedOps) {
    const message = `${count} of ${op}: no function for it in test/conformance`;
    note({ skipped: count, message });
    console.log(`skipped ${message}`);
  }
  if (totals.passed + totals.failed === 0) console.log('no case ran');
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  return totals.failed > 0 || totals.passed === 0 ? 1 : 0;
}

function fail(message: string): void {
  note({ failed: 1, message });
  console.log(`FAILED ${message}`);
}

function describe({ runtime, version, backend, description, subgroups }: Machine, { without }: Job): string {
  const sizes = subgroups && `subgroups of ${[...new Set(subgroups)].join(' to ')}`;
  const parts = [description, sizes, without.length && `without ${without}`].filter(Boolean);
  return `${backend} in ${runtime} ${version}: ${parts.join(', ')}`;
}

/** What ran is something else than what was asked for. */
function otherMachine({ runtime, description, subgroups }: Machine, asked: string, adapter?: SoftwareAdapter): string | undefined {
  if (runtime !== asked) return `this is ${runtime}`;
  const is = (name: SoftwareAdapter) => description.toLowerCase().includes(ADAPTER_NAMES[name].toLowerCase());
  if (adapter && !is(adapter)) return `this is not ${adapter}`;
  const bits = process.env.LP_NATIVE_VECTOR_WIDTH;
  const expected = Number(bits) / 32;
  if (bits && is('lavapipe') && !subgroups?.every((size) => size === expected)) return `its subgroups are not of ${expected}`;
  return undefined;
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}

process.exitCode = await main();
