/** What `npm test` makes of suites that fail, hang, break off or run nothing, and what it runs beside what. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { schedule } from '../runner/schedule.ts';
import { runSuite, type Suite } from '../runner/suite.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(path.join(tmpdir(), 'skip-vision-runner-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a suite made of this code, in which `note` writes the journal; returns its totals and the lines told. */
async function outcomeOf(code: string, options: { silence?: number; every?: number } = {}, suite: Partial<Suite> = {}) {
  const journal = path.join(ROOT, 'test/runner/journal.ts');
  const command = [process.execPath, '--input-type=module', '-e', `import { note } from ${JSON.stringify(journal)};\n${code}`];
  const lines: string[] = [];
  const totals = await runSuite(
    { name: 'fake', command, threads: 1, ...suite },
    { tell: (line) => lines.push(line), folder: mkdtempSync(path.join(folder, 'run-')), ...options },
  );
  return { totals, lines, text: lines.join('\n') };
}

test('a suite that ends: its counts, its failures and why it skips', async () => {
  const { totals, text } = await outcomeOf(`
    note({ passed: 2 });
    note({ failed: 1, message: 'x: 1 is not 2' });
    note({ skipped: 3, message: 'no driver' });
    process.exit(1);`);
  expect(totals).toEqual({ passed: 2, failed: 1, skipped: 3 });
  expect(text).toContain('FAILED fake: x: 1 is not 2');
  expect(text).toContain('SKIPPED fake: no driver');
  expect(text).toMatch(/fake: ends, 2 passed, 1 failed, 3 skipped/);
});

test.concurrent('a suite tells how far it is while it runs', async () => {
  const { lines } = await outcomeOf(
    `note({ passed: 7, now: 'part 2 of 3' });
     setTimeout(() => note({ passed: 1 }), 1500);`,
    { every: 100 },
  );
  expect(lines).toContain('fake: 7 passed, 0 failed, 0 skipped so far; now part 2 of 3');
});

test.concurrent('a suite that hangs is cut off, with what had run before', async () => {
  const { totals, text } = await outcomeOf(
    `note({ passed: 41, now: 'part 2 of 3' });
     setInterval(() => {}, 1000);`,
    { silence: 3000, every: 100 },
  );
  expect(totals).toEqual({ passed: 41, failed: 1, skipped: 0 });
  expect(text).toContain('FAILED fake: nothing was heard of it');
  expect(text).toContain('cut off at: part 2 of 3');
});

test.concurrent('a slow suite is not cut off while it says something', async () => {
  const { totals } = await outcomeOf(
    `for (let i = 0; i < 8; i++) {
       note({ passed: 1 });
       await new Promise((resolve) => setTimeout(resolve, 500));
     }`,
    { silence: 3000, every: 100 },
  );
  expect(totals).toEqual({ passed: 8, failed: 0, skipped: 0 });
});

test.each([
  ['runs nothing', '', 'it ran nothing (status 0)', 0],
  [
    'breaks off',
    `note({ passed: 5 }); console.error('the last word'); process.exit(3);`,
    'it failed as a whole (status 3)\n  the last word',
    5,
  ],
  ['is killed', `note({ passed: 5 }); process.kill(process.pid, 'SIGSEGV');`, 'it failed as a whole (SIGSEGV)', 5],
])('a suite that %s fails', async (_, code, message, passed) => {
  const { totals, text } = await outcomeOf(code);
  expect(totals).toEqual({ passed, failed: 1, skipped: 0 });
  expect(text).toContain(`FAILED fake: ${message}`);
});

test('a suite that cannot start fails', async () => {
  const { totals, text } = await outcomeOf('', {}, { command: [path.join(folder, 'nothing')] });
  expect(totals).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(text).toMatch(/FAILED fake: it ran nothing \(.*ENOENT\)/);
});

test('a suite that cannot run here is skipped aloud, with all its tests', async () => {
  const { totals, text } = await outcomeOf('', {}, { missing: { reason: 'no driver', tests: 614 } });
  expect(totals).toEqual({ passed: 0, failed: 0, skipped: 614 });
  expect(text).toContain('SKIPPED fake: no driver (614 tests)');
});

test('every test of vitest is in the journal: failed, skipped, behind a hook that fails, and files that do not load', async () => {
  const tests = path.join(ROOT, 'build/test/runner'); // below node_modules, where the tests find vitest
  rmSync(tests, { recursive: true, force: true });
  mkdirSync(tests, { recursive: true });
  writeFileSync(path.join(tests, 'vitest.config.ts'), `export default { test: { include: ['*.test.ts'] } };`);
  writeFileSync(
    path.join(tests, 'some.test.ts'),
    `import { beforeAll, describe, expect, test } from 'vitest';
     test('good', () => {});
     test('bad', () => expect(1).toBe(2));
     test.skip('for a reason', () => {});
     test.todo('some day');
     describe('behind a hook', () => {
       beforeAll(() => { throw new Error('the hook fails'); });
       test('never run', () => {});
     });`,
  );
  writeFileSync(path.join(tests, 'broken.test.ts'), `import './nothing.ts';`);
  const reporter = path.join(ROOT, 'test/runner/vitest-journal.ts');
  const command = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--root', tests, `--reporter=${reporter}`];
  const { totals, text } = await outcomeOf('', {}, { command });
  rmSync(tests, { recursive: true });
  expect(text).toMatch(/FAILED fake: \S+some\.test\.ts: bad: .*expected 1 to be 2/);
  expect(text).toMatch(/FAILED fake: \S+some\.test\.ts: behind a hook: .*the hook fails/);
  expect(text).toMatch(/FAILED fake: \S+broken\.test\.ts: .*nothing\.ts/);
  expect(text).toMatch(/SKIPPED fake: \S+some\.test\.ts: for a reason/);
  expect(totals).toEqual({ passed: 1, failed: 3, skipped: 3 });
});

describe('schedule', () => {
  /** Runs jobs that take some ms; tells for each what ran when it started, and the most threads at once. */
  async function run(threads: readonly number[], processors: number) {
    const beside: number[][] = [];
    const running = new Set<number>();
    let most = 0;
    const jobs = threads.map((count, i) => ({
      threads: count,
      run: async () => {
        beside[i] = [...running];
        running.add(i);
        most = Math.max(
          most,
          [...running].reduce((sum, each) => sum + threads[each]!, 0),
        );
        await new Promise((resolve) => setTimeout(resolve, 20));
        running.delete(i);
      },
    }));
    await schedule(jobs, processors);
    return { beside, most };
  }

  test('jobs of one thread run two at a time on two processors', async () => {
    const { beside, most } = await run([1, 1, 1, 1], 2);
    expect(beside.slice(0, 2)).toEqual([[], [0]]);
    expect(beside).toHaveLength(4);
    expect(most).toBe(2);
  });
  test('a job that fills the machine runs alone, and one that needs more does run', async () => {
    const { beside, most } = await run([1, 2, 1, 5], 2);
    expect(beside).toEqual([[], [], [0], []]);
    expect(most).toBe(5);
  });
  test('what a job throws comes out', async () => {
    const jobs = [{ threads: 1, run: () => Promise.reject(new Error('no')) }];
    await expect(schedule(jobs, 2)).rejects.toThrow('no');
  });
});
