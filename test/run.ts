/**
 * `npm test`: builds, then runs every suite, some beside each other, and adds up. Tells what runs and how far it is; the last line is
 * `N passed, N failed, N skipped`. Exit status 1 on a failure or when a suite ran nothing. More conformance cases than the
 * bundled ones: CONFORMANCE_CASES=DIR:DIR npm test. One suite: npm test -- --only NAME.
 */
import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { combinationsOf } from './conformance/combinations.ts';
import { caseFiles } from './conformance/files.ts';
import { driverIsChosen, installedAdapters, loaderEnvironment, type SoftwareAdapter, softwareDriver } from './gpu.ts';
import { findChromium, NO_CHROMIUM } from './portable/chromium.ts';
import { schedule } from './runner/schedule.ts';
import { countsOf, runSuite, type Suite, timeOf, type Totals } from './runner/suite.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const start = Date.now();
const node = process.execPath;
const hook = ['--import', './test/assets-hook.mjs'];

function tell(text: string): void {
  console.log(`${timeOf(Date.now() - start).padStart(6)}  ${text}`);
}

/** Those that take longest first. */
function suites(): Suite[] {
  const folders = ['test/fixtures/cases', ...(process.env.CONFORMANCE_CASES ?? '').split(path.delimiter).filter(Boolean)];
  const conformance = (name: string, options: readonly string[], missing?: Suite['missing']): Suite => ({
    name: `conformance, ${name}`,
    command: [node, ...hook, 'test/conformance/run.ts', ...folders, ...options],
    threads: 1,
    missing,
  });
  const without = (reason: string, combinations: number) => ({ reason, tests: caseFiles(folders).length * combinations });
  const lavapipe = driverIsChosen || softwareDriver('lavapipe');
  const chromium = findChromium();
  // One width of lavapipe's vectors: no kernel knows subgroups, whose size is all that others change.
  const onDriver = (adapter: SoftwareAdapter): Suite =>
    conformance(
      `webgpu on ${adapter}`,
      ['--backend', 'webgpu', '--adapter', adapter],
      softwareDriver(adapter) ? undefined : without(`${adapter} is missing: build/setup-gpu.sh installs it`, 1),
    );
  return [
    {
      name: 'vitest, node 24',
      command: [node, 'node_modules/vitest/vitest.mjs', 'run', '--reporter=./test/runner/vitest-journal.ts'],
      threads: os.availableParallelism(),
    },
    ...['deno', 'chromium', 'bun', 'node 20'].map((place) => ({
      name: `portable suites, ${place}`,
      command: [node, ...hook, 'test/portable/run.ts', '--only', place],
      threads: 1,
    })),
    ...(driverIsChosen
      ? [conformance('webgpu on the chosen driver', ['--backend', 'webgpu'])]
      : [onDriver('lavapipe'), onDriver('swiftshader')]),
    { name: 'package, examples', command: [node, 'test/package/run.ts'], threads: 1 },
    conformance(
      'deno, webgpu',
      ['--backend', 'webgpu', '--runtime', 'deno'],
      lavapipe ? undefined : without('lavapipe is missing: build/setup-gpu.sh installs it', 1),
    ),
    conformance('chromium, webgpu', ['--backend', 'webgpu', '--runtime', 'chromium'], chromium ? undefined : without(NO_CHROMIUM, 1)),
    conformance(
      'chromium, wasm',
      ['--all', '--runtime', 'chromium'],
      chromium ? undefined : without(NO_CHROMIUM, combinationsOf('wasm', 'chromium').length),
    ),
    conformance('wasm, every combination', ['--all']),
    conformance('deno, wasm', ['--all', '--runtime', 'deno']),
    conformance('reference', ['--backend', 'reference']),
  ];
}

/** Runs a command that the suites need; what it prints is told. */
async function prepare(command: readonly string[]): Promise<boolean> {
  const [executable, ...rest] = command;
  tell(rest.join(' '));
  const child = spawn(executable!, rest, {
    cwd: ROOT,
    env: { ...process.env, ...loaderEnvironment() },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const status = await new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null));
    child.on('exit', resolve);
  });
  return status === 0;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
  const sums: Totals = { passed: 0, failed: 0, skipped: 0 };
  // Without the drivers, what needs them is skipped and says so.
  if (!driverIsChosen && (installedAdapters().length < 2 || !findChromium())) await prepare(['bash', 'build/setup-gpu.sh']);
  for (const script of ['build/compile.ts', 'build/dist.ts']) {
    if (await prepare([node, script])) continue;
    tell(`FAILED ${script}`);
    sums.failed++;
  }
  const chosen = sums.failed > 0 ? [] : suites().filter(({ name }) => name.includes(values.only));
  const remarks: string[] = [];
  const jobs = chosen.map((suite) => ({
    threads: suite.threads,
    run: async () => {
      const totals = await runSuite(suite, {
        tell: (text) => {
          tell(text);
          if (/^(FAILED|SKIPPED)/.test(text)) remarks.push(text);
        },
      });
      for (const status of ['passed', 'failed', 'skipped'] as const) sums[status] += totals[status];
    },
  }));
  await schedule(jobs, os.availableParallelism());
  if (remarks.length > 0) console.log(`\n${remarks.join('\n')}`);
  tell('the end');
  console.log(countsOf(sums));
  return sums.failed > 0 || sums.passed === 0 ? 1 : 0;
}

process.exitCode = await main();
