/**
 * `node test/portable/run.ts [--only NAME]`: the portable suites in every runtime. Prints a line per place and failure, then
 * `N passed, N failed, N skipped`. Exit status 1 on a failure or when nothing ran.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { TestResult } from '../harness.ts';
import { bundleSuites } from './bundle.ts';
import { findChromium, runInPage } from './chromium.ts';
import { type CommandTarget, type Target, targets } from './targets.ts';

/** SwiftShader on a busy machine needs minutes. */
const TIMEOUT = 8 * 60_000;

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
  let done = false;
  const onLine = (line: string) => {
    const result = parseLine(line);
    if (!result) return;
    if ('done' in result) done = true;
    else if (result.status === 'passed') outcome.passed++;
    else if (result.status === 'skipped') outcome.skipped++;
    else outcome.failed.push(result);
  };
  try {
    if ('page' in target) {
      const executable = findChromium();
      if (!executable) return { ...outcome, missing: 'no Chromium here: build/setup-gpu.sh installs it' };
      await runInPage(executable, bundle, target, TIMEOUT, onLine);
    } else {
      await runCommand(target, bundle, onLine);
    }
    if (!done) outcome.trouble = 'it ended before the last test';
  } catch (error) {
    outcome.trouble = error instanceof Error ? error.message : String(error);
  }
  if (!outcome.trouble && outcome.passed === 0) outcome.trouble = 'no test passed';
  return outcome;
}

function parseLine(line: string): TestResult | { done: true } | undefined {
  if (!line.startsWith('{')) return undefined; // warnings of drivers
  try {
    return JSON.parse(line) as TestResult | { done: true };
  } catch {
    return undefined;
  }
}

function runCommand({ command, env, claim }: CommandTarget, bundle: string, onLine: (line: string) => void): Promise<void> {
  const [executable, ...rest] = command;
  const child = spawn(executable!, [...rest, bundle, JSON.stringify(claim)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => {
    complaint = (complaint + data.toString()).slice(-2000);
  });
  createInterface({ input: child.stdout }).on('line', onLine);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      if (status === 0) resolve();
      else reject(new Error(`it ended with ${signal ?? status}: ${complaint.trim()}`));
    });
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  const wanted = targets().filter(({ name }) => name.includes(values.only ?? ''));
  const bundle = await bundleSuites();
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
