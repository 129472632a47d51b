/**
 * `node --import ./test/assets-hook.mjs test/portable/run.ts [--only NAME]`: the portable suites in every runtime. Prints a line per
 * place and failure, then `N passed, N failed, N skipped`. Exit status 1 on a failure or when nothing ran.
 */
import { parseArgs } from 'node:util';
import { collect, type TestResult } from '../harness.ts';
import { platformOf } from '../platform.ts';
import { note } from '../runner/journal.ts';
import { SUITES } from '../suites/index.ts';
import { bundleOf } from './bundle.ts';
import type { PortableClaim } from './main.ts';
import { runBundle } from './place.ts';
import { type Target, targets } from './targets.ts';

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

async function runTarget({ name, claim, place, absent }: Target, bundle: string): Promise<Totals> {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  const count = (status: keyof Totals, message?: string, tests = 1) => {
    totals[status] += tests;
    note({ [status]: tests, message });
    if (message) console.log(`${status === 'failed' ? 'FAILED' : 'skipped'} ${message}`);
  };
  if (absent) count('skipped', `${name}: ${absent.reason}`, testsOf(absent.claim));
  if (!place) return totals;
  try {
    await runBundle(place, bundle, JSON.stringify(claim), ({ status, suite, name: test, message }: TestResult) => {
      if (status === 'passed') count(status);
      else count(status, `${name}: ${suite}: ${test}: ${message?.split('\n').slice(0, 14).join('\n  ')}`);
    });
    if (totals.passed === 0) count('failed', `${name}: no test passed`);
  } catch (error) {
    const ran = totals.passed + totals.failed;
    count('failed', `${name}: ${error instanceof Error ? error.message : String(error)} (${ran} of ${testsOf(claim)} tests ran)`);
  }
  return totals;
}

/** How many tests a claim stands for. */
function testsOf(claim: PortableClaim): number {
  const suites = Object.fromEntries(Object.entries(SUITES).filter(([name]) => claim.suites?.includes(name) ?? true));
  return collect(suites, platformOf(claim)).length;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  const wanted = targets().filter(({ name }) => name.includes(values.only ?? ''));
  const bundle = await bundleOf('portable', 'test/portable/main.ts');
  const sums: Totals = { passed: 0, failed: 0, skipped: 0 };
  for (const [i, target] of wanted.entries()) {
    const start = Date.now();
    note({ now: `place ${i + 1} of ${wanted.length}: ${target.name}` });
    const { passed, failed, skipped } = await runTarget(target, bundle);
    sums.passed += passed;
    sums.failed += failed;
    sums.skipped += skipped;
    const seconds = ((Date.now() - start) / 1000).toFixed(1);
    console.log(`${target.name}: ${passed} passed, ${failed} failed, ${skipped} skipped (${seconds} s)`);
  }
  console.log(`${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped`);
  return sums.failed > 0 || sums.passed === 0 ? 1 : 0;
}

process.exitCode = await main();
