/** The command `skip-vision` as a user runs it: the built file in a process of its own. Needs `npm run build` first. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { METHOD_NAMES } from '../../src/methods/index.ts';
import { pngFile, RGB } from './png-file.ts';

const CLI = resolve('dist/cli.js');
const PICTURE = resolve('examples/tiny-vlm/eval/000.png');
const QUESTION = 'what is at the bottom left ?';

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Hides the optional package `webgpu`, so that the default is the same on every machine and no driver writes warnings. */
const WITHOUT_GPU = `
  import { registerHooks } from 'node:module';
  registerHooks({
    resolve(name, context, next) {
      if (name === 'webgpu') throw new Error('hidden');
      return next(name, context);
    },
  });`;

function run(args: readonly string[], cwd?: string): Promise<Run> {
  const node = ['--import', `data:text/javascript,${encodeURIComponent(WITHOUT_GPU)}`];
  const child = spawn(process.execPath, [...node, CLI, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text;
    });
  }
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) => done({ code, ...printed }));
  });
}

const ask = (...args: string[]) => run(['ask', ...args]);

/** One message, no stack trace, nothing on the standard output. */
async function expectRefusal(running: Promise<Run>, code: number, ...messages: readonly (string | RegExp)[]): Promise<void> {
  const { stdout, stderr, code: got } = await running;
  expect(got, stderr).toBe(code);
  expect(stdout).toBe('');
  for (const message of messages) expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/\n\s+at /);
}

let folder: string;

beforeAll(async () => {
  if (!existsSync(CLI)) throw new Error('dist/cli.js is not there: npm run build makes it');
  folder = await mkdtemp(join(tmpdir(), 'skip-vision-cli-'));
});

afterAll(() => rm(folder, { recursive: true }));

describe('ask', () => {
  test('prints the answer, and what it cost on the standard error', async () => {
    const { code, stdout, stderr } = await ask(PICTURE, QUESTION);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'lion\n' });
    expect(stderr).toMatch(/skip-vision on wasm \(.+\)\n78 rows attended, 39 in the FFN; [\d.]+ MFLOP prefill in [\d.]+ ms\n2 tokens, /);
    expect(stderr).toMatch(/KV 159744 -> 79872 bytes/);
  });

  test('--json: one object and nothing else', async () => {
    const { code, stdout, stderr } = await ask(PICTURE, 'describe', '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.trimEnd()).not.toContain('\n');
    const result = JSON.parse(stdout) as Record<string, unknown>;
    expect(result).toEqual({
      answer: 'top left : cat , bottom left : lion , bottom right : umbrella',
      ids: [14, 15, 7, 35, 8, 17, 15, 7, 36, 8, 17, 16, 7, 59, 2],
      finishReason: 'stop',
      rejected: [{ name: 'webgpu', reason: expect.stringMatching(/\w/) }],
      stats: {
        backend: 'wasm',
        method: 'skip-vision',
        promptRows: 72,
        ffnRows: 33,
        layers: [33, 33, 33, 1].map((ffn) => ({ attended: 72, ffn, cached: 33 })),
        generatedTokens: 15,
        kvBytesBefore: 147456,
        kvBytesAfter: 67584,
        encodeFlops: expect.any(Number),
        prefillFlops: expect.any(Number),
        decodeFlops: expect.any(Number),
        encodeMs: expect.any(Number),
        prefillMs: expect.any(Number),
        decodeMs: expect.any(Number),
        decodeMsPerToken: expect.any(Number),
      },
    });
  });

  test('--backend, --method and --max-tokens', async () => {
    const { stdout } = await ask(PICTURE, 'describe', '--backend', 'reference', '--method', 'none', '--max-tokens', '2', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      ids: { length: 2 },
      finishReason: 'length',
      rejected: [],
      stats: { backend: 'reference', method: 'none', promptRows: 150, ffnRows: 150 },
    });
  });

  test('--dtype and --kv-dtype', async () => {
    const { stdout } = await ask(PICTURE, QUESTION, '--dtype', 'q8', '--kv-dtype', 'f16', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ answer: 'lion', stats: { kvBytesBefore: 79872, kvBytesAfter: 39936 } });
    await expectRefusal(
      ask(PICTURE, QUESTION, '--dtype', 'q3'),
      1,
      'dtype "q3" is not supported by the wasm backend, use f32, f16, q8, q4',
    );
    await expectRefusal(ask(PICTURE, QUESTION, '--kv-dtype', 'q8'), 1, 'kvDtype is "q8", expected f32 or f16');
  });

  test('--model takes a folder or a URL; a checkpoint without Skip-Vision is asked without it', async () => {
    for (const model of ['examples/tiny-vlm/full', pathToFileURL('examples/tiny-vlm/full').href]) {
      const { stdout } = await ask(PICTURE, QUESTION, '--model', model, '--json');
      expect(JSON.parse(stdout)).toMatchObject({ answer: 'lion', stats: { method: 'none' } });
    }
  });

  test('a relative path with spaces and other letters, from another folder', async () => {
    const name = 'mit Ümlaut ü/#1 100% 图?.png';
    await mkdir(join(folder, 'mit Ümlaut ü'));
    await copyFile(PICTURE, join(folder, name));
    const { code, stdout } = await run(['ask', name, QUESTION], folder);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'lion\n' });
  });

  test('a picture of one pixel', async () => {
    const picture = join(folder, 'one.png');
    await writeFile(picture, pngFile({ width: 1, height: 1, colorType: RGB, rows: [[250, 20, 20]] }));
    const { code, stdout } = await ask(picture, 'describe');
    expect(code).toBe(0);
    expect(stdout.trim()).not.toBe('');
  });

  test('an unknown method or backend: the message lists the known ones', async () => {
    await expectRefusal(
      ask(PICTURE, QUESTION, '--method', 'magic'),
      1,
      `skip-vision: unknown method "magic"; known: ${METHOD_NAMES.join(', ')}\n`,
    );
    await expectRefusal(
      ask(PICTURE, QUESTION, '--backend', 'abacus'),
      1,
      /^skip-vision: unknown backend "abacus"; known: webgpu, wasm, reference\n$/,
    );
    await expectRefusal(ask(PICTURE, QUESTION, '--backend', ''), 1, 'known: webgpu, wasm, reference');
  });

  test('a backend that does not work here: the message says why', async () => {
    await expectRefusal(ask(PICTURE, QUESTION, '--backend', 'webgpu'), 1, /no backend works here: webgpu: .*(adapter|navigator.gpu)/);
  });

  test('a method the checkpoint was not trained for', async () => {
    const asked = ask(PICTURE, QUESTION, '--model', 'examples/tiny-vlm/full', '--method', 'skip-vision');
    await expectRefusal(asked, 1, /needs the parameter skip_vision\.summary\.norm\.weight/);
  });

  test('what is no picture', async () => {
    await expectRefusal(ask('package.json', QUESTION), 1, /^skip-vision: image is \d+ bytes that start with .*expected a PNG or a JPEG\n$/);
    await expectRefusal(ask('no such picture.png', QUESTION), 1, /^skip-vision: image is no such picture\.png, which cannot be read/);
    await expectRefusal(ask('examples', QUESTION), 1, /^skip-vision: image is examples, which cannot be read/);
    const empty = join(folder, 'empty.png');
    await writeFile(empty, '');
    await expectRefusal(ask(empty, QUESTION), 1, 'expected a PNG or a JPEG');
  });

  test('what is no model', async () => {
    await expectRefusal(ask(PICTURE, QUESTION, '--model', 'no-such-folder'), 1, /config\.json/);
    await expectRefusal(ask(PICTURE, QUESTION, '--model', 'examples/tiny-vlm/eval'), 1, /config\.json/);
    await expectRefusal(ask(PICTURE, QUESTION, '--model', ''), 1, 'source is "", expected a directory path');
  });

  test('an empty question, and one beyond the context', async () => {
    await expectRefusal(ask(PICTURE, ''), 1, 'question is empty');
    await expectRefusal(ask(PICTURE, ' \t'), 1, 'question is empty');
    await expectRefusal(ask(PICTURE, 'dog '.repeat(600)), 1, 'the prompt has 671 rows, the model 512 positions');
  });

  test.each(['0', '-1', '2.5', 'many', ''])('--max-tokens=%s', async (maxTokens) => {
    await expectRefusal(
      ask(PICTURE, QUESTION, `--max-tokens=${maxTokens}`),
      1,
      `--max-tokens is "${maxTokens}", expected a positive integer`,
    );
  });
});

describe('doctor', () => {
  test('lists three backends, and what is chosen', async () => {
    const { code, stdout, stderr } = await run(['doctor']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^no {2}webgpu {4,}\S.*\nok {2}wasm {6,}simd128.*, [46]x8 tiles; features: simd.*; largest buffer \d+ bytes\nok {2}reference {2}\S.*\n/,
    );
    expect(stdout).toMatch(/\nchosen by default: wasm\n {2}not webgpu: \S/);
  });

  test('--json', async () => {
    const { code, stdout } = await run(['doctor', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      chosen: 'wasm',
      backends: [
        { name: 'webgpu', works: false, reason: expect.any(String) },
        { name: 'wasm', works: true, features: expect.arrayContaining(['simd']) },
        { name: 'reference', works: true, features: [] },
      ],
    });
  });
});

describe('usage', () => {
  test.each([['--help'], ['-h'], ['help'], ['ask', '--help']])('%s %s goes to the standard output', async (...args) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const word of [
      'ask IMAGE "QUESTION"',
      'doctor',
      '--method',
      '--backend',
      '--model',
      '--dtype',
      '--kv-dtype',
      '--max-tokens',
      '--json',
      'self-trained toy on\n',
    ]) {
      expect(stdout).toContain(word);
    }
  });

  test('--version is that of the package', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test.each([
    ['nothing', []],
    ['an unknown command', ['answer', 'a.png', 'what']],
    ['ask without a question', ['ask', 'a.png']],
    ['ask with too much', ['ask', 'a.png', 'what', 'is it']],
    ['doctor with too much', ['doctor', 'please']],
    ['an unknown option', ['ask', 'a.png', 'what', '--speed']],
    ['an option without its value', ['ask', 'a.png', 'what', '--method']],
    ['an option given a value it does not take', ['doctor', '--json=yes']],
  ])('%s is bad usage', async (_name, args) => {
    await expectRefusal(run(args), 2, /usage: skip-vision ask IMAGE/);
  });
});
