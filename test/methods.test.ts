/** Laws of every method in the table, on the bundled toy models (self-trained on synthetic scenes). */
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { METHOD_NAMES, methodByName } from '../src/methods/index.ts';
import { toImage } from '../src/model/image/image.ts';
import { loadModel } from '../src/model/load.ts';
import { readQuestions } from './eval/questions.ts';
import { nodeBackends } from './node-backends.ts';
import { METHOD_ROWS } from './table/methods.ts';

const TINY = path.resolve(import.meta.dirname, '../examples/tiny-vlm');
const PICTURE = '028.png';
const questions = (await readQuestions(path.join(TINY, 'eval'))).filter(
  ({ image, type }) => image === PICTURE && ['what', 'describe'].includes(type),
);

test('the table has a row for every method', () => {
  expect(METHOD_ROWS.map(({ name }) => name).sort()).toEqual([...METHOD_NAMES].sort());
  expect(questions.map(({ type }) => type)).toEqual(['what', 'describe']);
});

describe.each(nodeBackends())('methods on $name', ({ name: backendName, create }) => {
  // SwiftShader is several times slower than lavapipe, and the same WGSL runs on both
  const asked = backendName.includes('swiftshader') ? questions.slice(0, 1) : questions;
  test.each(METHOD_ROWS)('$name: stored answers in one chunk and in chunks, its rows, no memory left', async ({ name, ...row }) => {
    await using backend = await create();
    const held = () => ({ tensors: backend.memory().tensors, weights: backend.memory().weights });
    const start = held();
    const model = await loadModel(path.join(TINY, row.checkpoint), { backend });
    const { imageTokenId, promptTemplate, decoder } = model.config;
    const rowBytes = decoder.blocks.reduce((sum, { kvHeads, headDim }) => sum + 2 * kvHeads * headDim * 4, 0);
    const method = methodByName(name, model.config);
    const image = await toImage(path.join(TINY, 'eval', PICTURE));
    let loaded: unknown; // the first question loads what only this method needs
    const runs = [{}, { chunkSize: 29 }, { chunkSize: 29, kvDtype: 'f16' as const }];
    for (const { question, [row.stored]: stored } of asked) {
      const prompt = model.tokenizer.encode(promptTemplate.replace('{question}', question));
      const texts = prompt.filter((id) => id !== imageTokenId).length;
      for (const options of runs) {
        const { text, stats } = await model.generate({ image, question, method, ...options });
        expect({ question, text }).toEqual({ question, text: stored });
        expect(stats).toMatchObject({
          method: name,
          promptRows: texts + row.rows.attended,
          ffnRows: texts + row.rows.ffn,
          kvBytesAfter: (rowBytes * (texts + row.rows.kept)) / (options.kvDtype ? 2 : 1),
        });
        loaded ??= held();
        expect(held()).toEqual(loaded);
      }
    }
    model[Symbol.dispose]();
    expect(held()).toEqual(start);
  });
});
