import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { toImage } from '../src/model/image/image.ts';
import { loadModel } from '../src/model/load.ts';
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
  expect(check.missed).toEqual([]);
}

for (const backendCase of nodeBackends()) {
  describe(`golden tensors on ${backendCase.name}: lists equal, values within 2e-5 of the largest`, () => {
    // Slow ones see the first scenes: the same WGSL runs on SwiftShader as on lavapipe, the reference has one loop for all sizes.
    const some = backendCase.name.includes('swiftshader') ? 1 : backendCase.kind === 'reference' ? 4 : ENTRIES.length;
    const entries = ENTRIES.slice(0, some);
    test(`${entries.length} of ${ENTRIES.length} questions`, async () => {
      await using backend = await backendCase.create();
      using skip = await loadModel(path.join(TINY, 'skip'), { backend });
      using full = await loadModel(path.join(TINY, 'full'), { backend });
      const scenes = new Set<string>();
      for (const entry of entries) {
        const picture = await toImage(path.join(TINY, entry.image));
        if (!scenes.has(entry.scene)) expectAll(await checkScene(await golden(entry.scene), skip, full, path.join(TINY, 'skip'), picture));
        scenes.add(entry.scene);
        expectAll(await checkSkipAnswer(await golden(entry.skip), skip, picture));
        expectAll(await checkFullAnswer(await golden(entry.full), full, picture));
      }
    });
  });
}
