/**
 * `npm test`: builds, then runs every suite and adds up. Prints a line per suite and the failures; the last line is
 * `N passed, N failed, N skipped`. Exit status 1 on a failure or when a suite ran nothing. More conformance cases than the
 * bundled ones: CONFORMANCE_CASES=DIR:DIR npm test.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { driverIsChosen, installedAdapters, loaderEnvironment, softwareDriver } from './gpu.ts';
import { findChromium, NO_CHROMIUM } from './portable/chromium.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const VITEST_REPORT = path.join(ROOT, 'build/test/vitest.json');
const MINUTE = 60_000;

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

interface Suite {
  name: string;
  command: readonly string[];
  /** Against hangs only: a slow or busy machine must not reach it. */
  minutes: number;
  /** What must be there for the suite to run, when it is not. */
  missing?: string;
  /** Totals of a suite that does not print them as its last line. */
  totals?: () => { totals: Totals; failures: string[] };
}

const node = process.execPath;
const hook = ['--import', './test/assets-hook.mjs'];

function suites(): Suite[] {
  const cases = ['test/fixtures/cases', ...(process.env.CONFORMANCE_CASES ?? '').split(path.delimiter).filter(Boolean)];
  const conformance = (name: string, ...options: string[]): Suite => ({
    name: `conformance, ${name}`,
    command: [node, ...hook, 'test/conformance/run.ts', ...cases, ...options],
    minutes: 60,
  });
  const noGpu = driverIsChosen || installedAdapters().length > 0 ? undefined : 'no Vulkan driver here: build/setup-gpu.sh installs one';
  const noGpuForDeno = driverIsChosen || softwareDriver('lavapipe') ? undefined : 'no lavapipe here: build/setup-gpu.sh installs it';
  const noChromium = findChromium() ? undefined : NO_CHROMIUM;
  return [
    {
      name: 'vitest, node 24',
      command: [node, 'node_modules/vitest/vitest.mjs', 'run', '--reporter=json', `--outputFile=${VITEST_REPORT}`],
      minutes: 60,
      totals: vitestTotals,
    },
    conformance('reference', '--backend', 'reference'),
    conformance('wasm, every combination', '--all'),
    { ...conformance('webgpu, every driver', '--all', '--backend', 'webgpu'), missing: noGpu },
    conformance('deno, wasm', '--all', '--runtime', 'deno'),
    { ...conformance('deno, webgpu', '--backend', 'webgpu', '--runtime', 'deno'), missing: noGpuForDeno },
    { ...conformance('chromium, wasm', '--all', '--runtime', 'chromium'), missing: noChromium },
    { ...conformance('chromium, webgpu', '--backend', 'webgpu', '--runtime', 'chromium'), missing: noChromium },
    { name: 'portable suites, other runtimes', command: [node, 'test/portable/run.ts'], minutes: 60 },
    { name: 'package, examples', command: [node, 'test/package/run.ts'], minutes: 60 },
  ];
}

/** Runs a command in the project; returns its status and what it printed. */
function run(command: readonly string[], minutes: number): Promise<{ status: number | string; output: string }> {
  const [executable, ...rest] = command;
  const child = spawn(executable!, rest, {
    cwd: ROOT,
    env: { ...process.env, ...loaderEnvironment(), NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: minutes * MINUTE,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      output += data.toString();
    });
  }
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ status: error.message, output }));
    child.on('close', (status, signal) => resolve({ status: status ?? `${signal} after ${minutes} minutes`, output }));
  });
}

async function runSuite({ name, command, minutes, missing, totals }: Suite): Promise<Totals> {
  if (missing) {
    console.log(`${name}: skipped, ${missing}`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const start = Date.now();
  const { status, output } = await run(command, minutes);
  const result = totals ? totals() : printedTotals(output);
  const sum = { ...result.totals };
  const failures = [...result.failures];
  const ranNothing = sum.passed + sum.failed === 0;
  if (ranNothing || (status !== 0 && sum.failed === 0)) {
    sum.failed++;
    failures.push(`FAILED ${name}: ${ranNothing ? 'it ran nothing' : 'it failed'} (status ${status})\n${output.slice(-3000)}`);
  }
  const seconds = ((Date.now() - start) / 1000).toFixed(0);
  console.log(`${name}: ${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped (${seconds} s)`);
  for (const failure of failures) console.log(failure);
  return sum;
}

/** The last line of a suite's output, and its lines about failures with what is indented under them. */
function printedTotals(output: string): { totals: Totals; failures: string[] } {
  const lines = output.trimEnd().split('\n');
  const match = lines.map((line) => /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(line)).findLast((found) => found);
  const [passed = 0, failed = 0, skipped = 0] = match?.slice(1).map(Number) ?? [];
  const failures = lines.filter(
    (line, i) => line.startsWith('FAILED') || (line.startsWith('  ') && lines.slice(0, i).some((each) => each.startsWith('FAILED'))),
  );
  return { totals: { passed, failed, skipped }, failures };
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
  }[];
}

function vitestTotals(): { totals: Totals; failures: string[] } {
  if (!existsSync(VITEST_REPORT)) return { totals: { passed: 0, failed: 0, skipped: 0 }, failures: [] };
  const report = JSON.parse(readFileSync(VITEST_REPORT, 'utf8')) as VitestReport;
  // A file that cannot be loaded fails without a failing test in it.
  const unloadable = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((each) => each.status === 'failed'),
  );
  const failed = report.testResults.flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === 'failed'));
  const failures = [
    ...unloadable.map(({ name, message }) => `FAILED ${path.relative(ROOT, name)}: ${message}`),
    ...failed.map(
      ({ fullName, failureMessages }) => `FAILED ${fullName}: ${failureMessages.join('\n').split('\n').slice(0, 14).join('\n  ')}`,
    ),
  ];
  const skipped = report.numPendingTests + report.numTodoTests;
  return { totals: { passed: report.numPassedTests, failed: report.numFailedTests + unloadable.length, skipped }, failures };
}

async function prepare(): Promise<boolean> {
  mkdirSync(path.dirname(VITEST_REPORT), { recursive: true });
  rmSync(VITEST_REPORT, { force: true });
  if (!driverIsChosen && (installedAdapters().length < 2 || !findChromium())) {
    const { output } = await run(['bash', 'build/setup-gpu.sh'], 30);
    console.log(output.trim());
  }
  for (const script of ['build/compile.ts', 'build/dist.ts']) {
    const { status, output } = await run([node, script], 30);
    if (status !== 0) {
      console.log(`FAILED ${script} (status ${status})\n${output}`);
      return false;
    }
  }
  return true;
}

async function main(): Promise<number> {
  const total: Totals = { passed: 0, failed: 0, skipped: 0 };
  const built = await prepare();
  if (!built) total.failed++;
  for (const suite of built ? suites() : []) {
    const { passed, failed, skipped } = await runSuite(suite);
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
}

process.exitCode = await main();
