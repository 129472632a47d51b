/** The reporter of vitest for `npm test`: writes every test to the journal as it ends. */
import path from 'node:path';
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite } from 'vitest/node';
import { note } from './journal.ts';

type Told = Pick<Error, 'message' | 'stack'>;

export default class VitestJournal implements Reporter {
  readonly #journal = process.env.SUITE_JOURNAL;
  readonly #told = new Set<string>();
  readonly #running = new Map<string, string>();
  #files = 0;
  #ended = 0;

  onTestRunStart(specifications: readonly unknown[]): void {
    this.#files = specifications.length;
    delete process.env.SUITE_JOURNAL; // tests that run a suite must not write here
  }

  onTestCaseReady(test: TestCase): void {
    this.#running.set(test.id, titleOf(test));
    this.#now();
  }

  onTestCaseResult(test: TestCase): void {
    this.#running.delete(test.id);
    this.#told.add(test.id);
    const result = test.result();
    if (result.state === 'failed') this.#fail(titleOf(test), result.errors);
    else if (result.state === 'passed') this.#note({ passed: 1 });
    else this.#note({ skipped: 1, message: 'note' in result && result.note ? `${titleOf(test)}: ${result.note}` : titleOf(test) });
  }

  onTestSuiteResult(suite: TestSuite): void {
    if (suite.errors().length > 0) this.#fail(`${fileOf(suite.module)}: ${suite.fullName}`, suite.errors());
  }

  onTestModuleEnd(module: TestModule): void {
    if (module.errors().length > 0) this.#fail(fileOf(module), module.errors());
    for (const test of module.children.allTests()) if (!this.#told.has(test.id)) this.onTestCaseResult(test);
    this.#ended++;
    this.#now();
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    for (const error of unhandled) this.#fail('outside of any test', [error]);
  }

  #now(): void {
    this.#note({ now: [`${this.#ended} of ${this.#files} files`, ...this.#running.values()].join('; ') });
  }

  #fail(title: string, errors: readonly Told[]): void {
    const words = errors.map(({ message, stack }) => (stack?.includes(message) ? stack : `${message}\n${stack ?? ''}`));
    const lines = words.join('\n').split('\n');
    const own = lines.filter((line) => line && !line.includes('node_modules'));
    this.#note({ failed: 1, message: `${title}: ${own.slice(0, 14).join('\n')}` });
  }

  #note(entry: Parameters<typeof note>[0]): void {
    note(entry, this.#journal);
  }
}

function fileOf(module: TestModule): string {
  return path.relative(process.cwd(), module.moduleId);
}

function titleOf(test: TestCase): string {
  return `${fileOf(test.module)}: ${test.fullName}`;
}
