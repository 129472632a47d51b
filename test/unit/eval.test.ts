/** `npm run eval` as a command: one JSON object or one message. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'skip-vision-eval-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const evaluate = (...options: string[]) => run('--import', './test/assets-hook.mjs', 'test/eval/run.ts', ...options);

describe('eval', () => {
  test('--json: one object on the standard output', () => {
    const { status, stdout } = evaluate('--method', 'skip-vision', '--backend', 'wasm', '--limit', '5', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ backend: 'wasm', method: 'skip-vision', questions: 5, accuracy: 1, agreement: 1 });
  });

  test('--dtype and --kv-dtype: the answers are those of f32', () => {
    const options = ['--dtype', 'f16', '--kv-dtype', 'f16', '--limit', '5', '--json'];
    const { status, stdout } = evaluate('--method', 'skip-vision', '--backend', 'wasm', ...options);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ questions: 5, agreement: 1 });
  });

  test('questions without stored answers have an accuracy and no agreement', () => {
    copyFileSync('examples/tiny-vlm/eval/028.png', join(folder, 'picture.png'));
    const question = { image: 'picture.png', type: 'what', question: 'what is at the top right ?', answer: 'cactus' };
    writeFileSync(join(folder, 'questions.jsonl'), `${JSON.stringify(question)}\n\n`);
    expect(JSON.parse(evaluate('--data', folder, '--json').stdout)).toMatchObject({ questions: 1, accuracy: 1, agreement: null });
  });

  test.each(['0', '-1', '2.5', 'ten', ''])('--limit=%s is refused', (limit) => {
    expect(evaluate(`--limit=${limit}`)).toEqual({
      status: 1,
      stdout: '',
      stderr: `--limit is "${limit}", expected a positive integer\n`,
    });
  });

  test.each([
    ['nothing', '', /^.*questions\.jsonl holds no questions\n$/],
    ['empty lines', '\n \n', /holds no questions\n$/],
    ['a line cut short', '\n{"image": "a.png", "ty', /^.*questions\.jsonl, line 2 is no JSON: .*\n$/],
    ['no object', 'null', /, line 1 has no text "image"\n$/],
    ['a question without its answer', '{"image":"a.png","type":"what","question":"?"}', /, line 1 has no text "answer"\n$/],
  ])('questions.jsonl with %s is refused', (_what, text, message) => {
    writeFileSync(join(folder, 'questions.jsonl'), text);
    const { status, stdout, stderr } = evaluate('--data', folder, '--json');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(message);
  });
});

test('build/compile.ts, which runs before, leaves the standard output alone', () => {
  expect(run('build/compile.ts')).toMatchObject({ status: 0, stdout: '' });
});
