/** `--all`: wasm in every variant, on one thread and on two, with all instructions of the CPU and without some; webgpu on every driver. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { driverIsChosen, installedAdapters, type SoftwareAdapter } from '../gpu.ts';
import { note } from '../runner/journal.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const COMMAND = ['--import', path.join(ROOT, 'test/assets-hook.mjs'), path.join(ROOT, 'test/conformance/run.ts')];
const TOTALS = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

/** V8 has flags that leave FMA and VNNI aside on x86-64 only. */
const WITHOUT = process.arch === 'x64' ? ['', 'fma,vnni'] : [''];
const hasFlags = (runtime: string) => runtime === 'node' && WITHOUT.length > 1;

/** This command once more, in an engine with the flags. */
export function runAgain(flags: readonly string[]): number {
  const { status } = spawnSync(process.execPath, [...flags, ...COMMAND, ...process.argv.slice(2)], { stdio: 'inherit' });
  return status ?? 1;
}

export interface Combination {
  options: readonly string[];
  env?: Readonly<Record<string, string>>;
}

/** What `--all` runs; of webgpu on the drivers that are installed, or on one of them. */
export function combinationsOf(backend: 'wasm' | 'webgpu', runtime: string, adapter?: SoftwareAdapter): Combination[] {
  return backend === 'wasm' ? wasmCombinations(runtime) : webgpuCombinations(runtime, adapter ? [adapter] : installedAdapters());
}

export interface Chosen {
  backend: string;
  runtime: string;
  only?: string;
}

/** A line per combination and one per failing case, then the sums. */
export function runCombinations(folders: readonly string[], all: readonly Combination[], { backend, runtime, only }: Chosen): number {
  const chosen = [...folders, '--backend', backend, '--runtime', runtime, ...(only ? ['--only', only] : [])];
  if (backend === 'wasm' && !hasFlags(runtime)) console.log('without fma,vnni: left out, as only Node on x64 has flags for it');
  const outcomes = all.map((combination, i) => {
    const words = [...combination.options, ...Object.entries(combination.env ?? {}).map(([name, value]) => `${name}=${value}`)];
    note({ now: `combination ${i + 1} of ${all.length}: ${words.join(' ')}` });
    return runOne(combination, chosen);
  });
  const [passed, failed, skipped] = [0, 1, 2].map((i) => outcomes.reduce((sum, { counts }) => sum + counts[i]!, 0));
  if (outcomes.length === 0) console.log('no case ran: no driver is installed');
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return outcomes.length > 0 && outcomes.every(({ status }) => status === 0) ? 0 : 1;
}

function wasmCombinations(runtime: string): Combination[] {
  const without = hasFlags(runtime) ? WITHOUT : [''];
  return ['simd128', 'relaxed'].flatMap((variant) =>
    [1, 2].flatMap((threads) =>
      without.map((list) => ({ options: ['--variant', variant, '--threads', `${threads}`, ...(list ? ['--without', list] : [])] })),
    ),
  );
}

/** lavapipe has as many invocations in a subgroup as its vectors have lanes: 4, 8 or 16. */
const LAVAPIPE = ['128', '256', '512'].map((bits) => ({ LP_NATIVE_VECTOR_WIDTH: bits }));

/** Every driver given, or the one the user chose; Chromium has its own, SwiftShader. */
function webgpuCombinations(runtime: string, adapters: readonly SoftwareAdapter[]): Combination[] {
  if (driverIsChosen || runtime === 'chromium') return [{ options: [] }];
  if (runtime === 'deno') return LAVAPIPE.map((env) => ({ options: [], env }));
  return adapters.flatMap((adapter): Combination[] => {
    const options = ['--adapter', adapter];
    return adapter === 'lavapipe' ? LAVAPIPE.map((env) => ({ options, env })) : [{ options }];
  });
}

function runOne({ options, env }: Combination, chosen: readonly string[]): { status: number; counts: number[] } {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...COMMAND, ...chosen, ...options], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  const totals = TOTALS.exec(stdout);
  const [machine, ...lines] = stdout.split('\n');
  if (totals) console.log(`${machine}: ${totals[0]}`);
  else {
    const message = `${options.join(' ')} (status ${status ?? signal}): ${stderr.trim() || stdout.trim()}`;
    note({ failed: 1, message });
    console.log(`FAILED ${message}`);
  }
  for (const line of lines.filter((each) => /^(FAILED|skipped|no case)/.test(each))) console.log(line);
  return { status: status ?? 1, counts: totals ? totals.slice(1).map(Number) : [0, 1, 0] };
}
