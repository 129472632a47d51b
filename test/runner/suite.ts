/** One suite of `npm test`: runs it, tells how far it is, and adds up what its journal says, also when it does not come to its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { loaderEnvironment } from '../gpu.ts';
import { type Entry, JournalReader } from './journal.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** Skipped tests that are told one by one. */
const SKIPS_TOLD = 12;
/** Lines of a suite's output that are shown when it fails as a whole. */
const LAST_WORDS = 40;

export interface Suite {
  name: string;
  command: readonly string[];
  /** Processors that it keeps busy; see schedule.ts. */
  threads: number;
  /** Why it cannot run here, and how many tests that leaves out. */
  missing?: { reason: string; tests: number };
}

export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

export interface SuiteOptions {
  /** Prints a line, or several. */
  tell(text: string): void;
  /** Where its output and its journal go. */
  folder?: string;
  /** Time between two lines about how far it is, in ms. */
  every?: number;
  /** A suite of which nothing is heard for so long hangs and is cut off, in ms. There is no other limit: machines may be slow. */
  silence?: number;
}

/** Never throws: what goes wrong is a failure of the suite. */
export async function runSuite(suite: Suite, options: SuiteOptions): Promise<Totals> {
  const { name, missing } = suite;
  const { tell } = options;
  if (missing) {
    tell(`SKIPPED ${name}: ${missing.reason} (${missing.tests} tests)`);
    return { passed: 0, failed: 0, skipped: missing.tests };
  }
  const start = Date.now();
  tell(`${name}: starts`);
  const run = new SuiteRun(suite, options);
  const end = await run.end;
  const { totals } = run;
  const ranNothing = totals.passed + totals.failed === 0;
  if (end.cutOff) run.fail(`nothing was heard of it for ${Math.round(end.cutOff / MINUTE)} minutes, and it was cut off at: ${run.now}`);
  else if (ranNothing) run.fail(`it ran nothing (${end.status})\n${run.lastWords()}`);
  else if (end.status !== 'status 0' && totals.failed === 0) run.fail(`it failed as a whole (${end.status})\n${run.lastWords()}`);
  run.tellOtherSkips();
  tell(`${name}: ends, ${countsOf(totals)} (${timeOf(Date.now() - start)})`);
  return totals;
}

export function countsOf({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** `4:05`, minutes and seconds. */
export function timeOf(ms: number): string {
  const seconds = Math.round(ms / SECOND);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

interface End {
  /** `status 1`, a signal's name, or why it could not start. */
  status: string;
  /** ms of silence after which it was cut off. */
  cutOff?: number;
}

class SuiteRun {
  readonly totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  readonly end: Promise<End>;
  now = 'its start';
  readonly #suite: Suite;
  readonly #options: SuiteOptions;
  readonly #log: string;
  readonly #journal: JournalReader;
  #heardAt = Date.now();
  #toldAt = Date.now();
  #logSize = 0;
  #skips = 0;

  constructor(suite: Suite, options: SuiteOptions) {
    this.#suite = suite;
    this.#options = options;
    const folder = options.folder ?? path.join(ROOT, 'build/test');
    mkdirSync(folder, { recursive: true });
    const stem = path.join(folder, suite.name.replaceAll(/\W+/g, '-'));
    this.#log = `${stem}.log`;
    rmSync(`${stem}.jsonl`, { force: true });
    this.#journal = new JournalReader(`${stem}.jsonl`);
    this.end = this.#run(`${stem}.jsonl`);
  }

  fail(message: string): void {
    this.#take({ failed: 1, message });
  }

  lastWords(): string {
    return readFileSync(this.#log, 'utf8').trimEnd().split('\n').slice(-LAST_WORDS).join('\n');
  }

  async #run(journal: string): Promise<End> {
    const { silence = 15 * MINUTE, every = 20 * SECOND } = this.#options;
    const [executable, ...rest] = this.#suite.command;
    const log = openSync(this.#log, 'w');
    const child = spawn(executable!, rest, {
      cwd: ROOT,
      env: { ...process.env, ...loaderEnvironment(), NO_COLOR: '1', SUITE_JOURNAL: journal },
      stdio: ['ignore', log, log],
      detached: true, // a process group, so that what it started is killed with it
    });
    closeSync(log);
    let cutOff: number | undefined;
    const timer = setInterval(
      () => {
        this.#listen();
        if (Date.now() - this.#toldAt >= every) this.#tellProgress();
        if (Date.now() - this.#heardAt < silence || cutOff) return;
        cutOff = silence;
        kill(child, 'SIGKILL');
      },
      Math.min(SECOND, every),
    );
    running.add(child);
    const status = await new Promise<string>((resolve) => {
      child.on('error', ({ message }) => resolve(message));
      child.on('exit', (code, signal) => resolve(signal ?? `status ${code}`));
    });
    running.delete(child);
    clearInterval(timer);
    this.#listen();
    return { status, cutOff };
  }

  /** What the journal and the output say that is new. */
  #listen(): void {
    const entries = this.#journal.read();
    const { size } = statSync(this.#log);
    if (entries.length > 0 || size !== this.#logSize) this.#heardAt = Date.now();
    this.#logSize = size;
    for (const entry of entries) this.#take(entry);
  }

  #take({ passed = 0, failed = 0, skipped = 0, message, now }: Entry): void {
    this.totals.passed += passed;
    this.totals.failed += failed;
    this.totals.skipped += skipped;
    if (now) this.now = now;
    if (!message) return;
    if (failed) this.#options.tell(`FAILED ${this.#suite.name}: ${message.replaceAll('\n', '\n  ')}`);
    else if (++this.#skips <= SKIPS_TOLD) this.#options.tell(`SKIPPED ${this.#suite.name}: ${message}`);
  }

  /** Of the tests that were skipped one by one. */
  tellOtherSkips(): void {
    const others = this.#skips - SKIPS_TOLD;
    if (others > 0) this.#options.tell(`SKIPPED ${this.#suite.name}: ${others} more: ${this.#log.replace(/log$/, 'jsonl')} has them`);
  }

  #tellProgress(): void {
    this.#toldAt = Date.now();
    this.#options.tell(`${this.#suite.name}: ${countsOf(this.totals)} so far; now ${this.now}`);
  }
}

/** Suites have process groups of their own, so that they do not get the signals of a terminal. */
const running = new Set<ChildProcess>();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const child of running) kill(child, 'SIGKILL');
    process.exit(1);
  });
}

function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid!, signal);
  } catch {} // it has just ended
}
