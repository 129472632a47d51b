import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { toImage } from '../src/model/image/image.ts';
import { loadModel } from '../src/model/vlm.ts';
import { checkFullAnswer, checkSkipAnswer } from './golden/answers.ts';
import { checkScene, type GoldenCheck, readGolden } from './golden/golden.ts';
import { nodeBackends } from './node-backends.ts';

interface Entry {
  image: string;
  scene: string;
  skip: string;
  full: string;
  question: string;
}

const ROOT = path.resolve(import.meta.dirname, '..');
const SHARED = path.join(ROOT, '../shared/tiny-vlm/golden');
/** All goldens where they are at hand, else the compact set that comes with the tests. */
const FOLDER = existsSync(SHARED) ? SHARED : path.join(ROOT, 'test/fixtures/golden');
const TINY = path.join(ROOT, 'examples/tiny-vlm');
const ENTRIES = JSON.parse(await readFile(path.join(FOLDER, 'index.json'), 'utf8')) as Entry[];

async function golden(file: string) {
  return readGolden(await readFile(path.join(FOLDER, file)), file);
}

function expectAll(check: GoldenCheck): void {
  const failures = check.results
    .filter(({ error, bound }) => !(error <= bound))
    .map(({ name, error, bound }) => `${name}: ${error} > ${bound}`);
  expect(failures).toEqual([]);
  // FastV is not part of the package yet
  expect(check.missed.filter((name) => !name.startsWith('fastv'))).toEqual([]);
}

for (const backendCase of nodeBackends()) {
  describe(`golden tensors on ${backendCase.name}: lists equal, values within 2e-5 of the largest`, { timeout: 300_000 }, () => {
    // SwiftShader is several times slower than lavapipe, and the same WGSL runs on both
    const entries = backendCase.name.includes('swiftshader') ? ENTRIES.slice(0, 2) : ENTRIES;
    test(`${entries.length} questions`, async () => {
      await using backend = await backendCase.create();
      using skip = await loadModel(path.join(TINY, 'skip'), { backend });
      using full = await loadModel(path.join(TINY, 'full'), { backend });
      for (const entry of entries) {
        const picture = await toImage(path.join(TINY, entry.image));
        expectAll(await checkScene(await golden(entry.scene), skip, full, path.join(TINY, 'skip'), picture));
        expectAll(await checkSkipAnswer(await golden(entry.skip), skip, picture));
        expectAll(await checkFullAnswer(await golden(entry.full), full, picture));
      }
    });
  });
}
