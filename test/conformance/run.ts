/**
 * `npm run conformance -- DIR... [--backend reference|wasm|webgpu] [--variant simd128|relaxed] [--threads N] [--without fma,vnni]
 * [--all] [--only OP]`
 * Runs every case file under the folders, prints a line per failing case, then `N passed, N failed, N skipped`.
 * Exit status 1 on a failure or when no case ran. `--threads` above 1 shares every call, however small; `--without` has the engine
 * leave instructions of the CPU aside; `--all` runs wasm in every combination of these, a line each.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Backend } from '../../src/backend/backend.ts';
import { referenceCase, type WasmVariant, wasmCase, webgpuCase } from '../backends.ts';
import { ensureDriver, nodeGpu } from '../gpu.ts';
import type { BackendCase } from '../harness.ts';
import { readCase } from './case.ts';
import { runAgain, runCombinations } from './combinations.ts';
import { compareOutputs } from './compare.ts';
import { CaseInputs } from './inputs.ts';
import { flagsWithout, type Instruction, instructionsOf, usedHere } from './instructions.ts';
import { CASES } from './ops.ts';

const USAGE = `usage: npm run conformance -- DIR... [--backend reference|wasm|webgpu] [--only OP]
       npm run conformance -- DIR... --backend wasm [--variant simd128|relaxed] [--threads N] [--without fma,vnni] [--only OP]
       npm run conformance -- DIR... --all [--only OP]`;

interface Totals {
  passed: number;
  failed: number;
  /** Cases of ops that nobody computes here, by op. */
  skipped: Map<string, number>;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      backend: { type: 'string', default: 'reference' },
      variant: { type: 'string', default: 'simd128' },
      threads: { type: 'string', default: '1' },
      without: { type: 'string', default: '' },
      all: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  });
  const backendCase = backendOf(values.backend, values.variant, Number(values.threads));
  const without = instructionsOf(values.without);
  if (positionals.length === 0 || !backendCase || !without) return fail(USAGE);
  const missing = positionals.find((folder) => !existsSync(folder));
  if (missing) return fail(`there is no ${missing}`);
  if (values.all) return runCombinations(positionals, values.only);
  const flags = flagsWithout(without).filter((flag) => !process.execArgv.includes(flag));
  if (flags.length > 0) return runAgain(flags);

  if (backendCase.kind === 'webgpu') ensureDriver();
  await using backend = await backendCase.create();
  console.log(`${backendCase.name}: ${backend.description}`);
  const trouble = notAsAsked(backend, Number(values.threads), without);
  if (trouble) return fail(trouble);
  const totals = await runAll(backend, await caseFiles(positionals), values.only);
  for (const [op, count] of totals.skipped) console.log(`skipped ${count} of ${op}: no function for it in test/conformance`);
  const skipped = [...totals.skipped.values()].reduce((sum, count) => sum + count, 0);
  if (totals.passed + totals.failed === 0) console.log('no case ran');
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${skipped} skipped`);
  return totals.failed > 0 || totals.passed === 0 ? 1 : 0;
}

function backendOf(name: string, variant: string, threads: number): BackendCase | undefined {
  if (name === 'reference') return referenceCase();
  if (name === 'wasm' && ['simd128', 'relaxed'].includes(variant)) return wasmCase(variant as WasmVariant, threads);
  if (name === 'webgpu') return webgpuCase('', () => nodeGpu());
  return undefined;
}

/** A run that proves something else than it says is no good. */
function notAsAsked(backend: Backend, threads: number, without: readonly Instruction[]): string | undefined {
  if (threads > 1 && !backend.features.has('threads')) return `there are no threads: ${backend.description}`;
  const used = usedHere();
  const left = without.find((instruction) => used[instruction]);
  return left && `the engine uses ${left} in spite of ${flagsWithout([left]).join(' ')}`;
}

async function caseFiles(folders: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const folder of folders) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    for (const entry of entries)
      if (entry.isFile() && entry.name.endsWith('.safetensors')) files.push(path.join(entry.parentPath, entry.name));
  }
  return files.sort();
}

async function runAll(backend: Backend, files: readonly string[], only: string | undefined): Promise<Totals> {
  const totals: Totals = { passed: 0, failed: 0, skipped: new Map() };
  for (const file of files) {
    const outcome = await runCase(backend, file, only);
    if (outcome === 'other op') continue;
    if (outcome === 'passed') totals.passed++;
    else if ('skipped' in outcome) totals.skipped.set(outcome.skipped, (totals.skipped.get(outcome.skipped) ?? 0) + 1);
    else {
      totals.failed++;
      console.log(`FAILED ${path.relative('', file)}: ${outcome.failed}`);
    }
  }
  return totals;
}

async function runCase(
  backend: Backend,
  file: string,
  only?: string,
): Promise<'passed' | 'other op' | { failed: string } | { skipped: string }> {
  let op = 'unreadable';
  try {
    const expected = await readCase(file);
    op = expected.op;
    if (only && op !== only) return 'other op';
    const compute = Object.hasOwn(CASES, op) ? CASES[op] : undefined;
    if (!compute) return { skipped: op };
    const inputs = new CaseInputs(backend, expected.inputs);
    try {
      const { passed, message } = compareOutputs(expected, await compute(inputs, expected.attrs));
      return passed ? 'passed' : { failed: `${op}: ${message}` };
    } finally {
      inputs.dispose();
    }
  } catch (error) {
    return { failed: `${op}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function fail(message: string): number {
  console.error(message);
  return 1;
}

process.exitCode = await main();
