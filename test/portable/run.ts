/**
 * `node test/portable/run.ts [--only NAME]`: the portable suites in every runtime. Prints a line per place and failure, then
 * `N passed, N failed, N skipped`. Exit status 1 on a failure or when nothing ran.
 */
import { parseArgs } from 'node:util';
import type { TestResult } from '../harness.ts';
import { bundleOf } from './bundle.ts';
import { findChromium, NO_CHROMIUM } from './chromium.ts';
import { runBundle } from './place.ts';
import { type Target, targets } from './targets.ts';

interface Outcome {
  passed: number;
  failed: TestResult[];
  skipped: number;
  /** Why the run as a whole is no good, or why there was none. */
  trouble?: string;
  missing?: string;
}

async function runTarget(target: Target, bundle: string): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, failed: [], skipped: 0 };
  if ('missing' in target) return { ...outcome, missing: target.missing };
  if ('page' in target && !findChromium()) return { ...outcome, missing: NO_CHROMIUM };
  const onResult = (result: TestResult) => {
    if (result.status === 'failed') outcome.failed.push(result);
    else outcome[result.status]++;
  };
  try {
    await runBundle(target, bundle, JSON.stringify(target.claim), onResult);
  } catch (error) {
    outcome.trouble = error instanceof Error ? error.message : String(error);
  }
  if (!outcome.trouble && outcome.passed === 0) outcome.trouble = 'no test passed';
  return outcome;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  const wanted = targets().filter(({ name }) => name.includes(values.only ?? ''));
  const bundle = await bundleOf('portable', 'test/portable/main.ts');
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const target of wanted) {
    const start = Date.now();
    const { passed, failed, skipped, trouble, missing } = await runTarget(target, bundle);
    total.passed += passed;
    total.failed += failed.length + (trouble ? 1 : 0);
    total.skipped += skipped + (missing ? 1 : 0);
    const seconds = ((Date.now() - start) / 1000).toFixed(1);
    console.log(
      missing
        ? `${target.name}: skipped, ${missing}`
        : `${target.name}: ${passed} passed, ${failed.length} failed, ${skipped} skipped (${seconds} s)`,
    );
    if (trouble) console.log(`FAILED ${target.name}: ${trouble}`);
    for (const { suite, name, message } of failed)
      console.log(`FAILED ${target.name}: ${suite}: ${name}: ${message?.split('\n').slice(0, 14).join('\n  ')}`);
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
}

process.exitCode = await main();
