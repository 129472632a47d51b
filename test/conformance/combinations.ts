/** `--all`: the wasm backend in every variant, on one thread and on two, with all instructions of the CPU and without some. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
const COMMAND = ['--import', path.join(ROOT, 'test/assets-hook.mjs'), path.join(ROOT, 'test/conformance/run.ts')];
const TOTALS = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

/** V8 has flags that leave FMA and VNNI aside on x86-64 only. */
const WITHOUT = process.arch === 'x64' ? ['', 'fma,vnni'] : [''];

/** This command once more, in an engine with the flags. */
export function runAgain(flags: readonly string[]): number {
  const { status } = spawnSync(process.execPath, [...flags, ...COMMAND, ...process.argv.slice(2)], { stdio: 'inherit' });
  return status ?? 1;
}

/** A line per combination and one per failing case, then the sums. */
export function runCombinations(folders: readonly string[], only?: string): number {
  const chosen = only ? [...folders, '--only', only] : folders;
  const outcomes = combinations().map((combination) => runOne(combination, chosen));
  if (WITHOUT.length === 1) console.log(`without fma,vnni: left out, as the engine has no flags for it on ${process.arch}`);
  const [passed, failed, skipped] = [0, 1, 2].map((i) => outcomes.reduce((sum, { counts }) => sum + counts[i]!, 0));
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return outcomes.every(({ status }) => status === 0) ? 0 : 1;
}

interface Combination {
  variant: string;
  threads: number;
  without: string;
}

function combinations(): Combination[] {
  return ['simd128', 'relaxed'].flatMap((variant) =>
    [1, 2].flatMap((threads) => WITHOUT.map((without) => ({ variant, threads, without }))),
  );
}

function runOne({ variant, threads, without }: Combination, chosen: readonly string[]): { status: number; counts: number[] } {
  const options = ['--backend', 'wasm', '--variant', variant, '--threads', `${threads}`, '--without', without];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...COMMAND, ...chosen, ...options], { encoding: 'utf8' });
  const name = `wasm ${variant}, ${threads} ${threads > 1 ? 'threads' : 'thread'}${without && `, without ${without}`}`;
  const totals = TOTALS.exec(stdout);
  if (totals) console.log(`${name}: ${totals[0]}`);
  else console.log(`FAILED ${name} (status ${status}): ${stderr.trim() || stdout.trim()}`);
  for (const line of stdout.split('\n').filter((each) => /^(FAILED|skipped|no case)/.test(each))) console.log(line);
  return { status: status ?? 1, counts: totals ? totals.slice(1).map(Number) : [0, 1, 0] };
}
