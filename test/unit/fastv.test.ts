/** FastV: what it costs on paper, and what holds for it on any prompt. */
import { describe, expect, test } from 'vitest';
import { fastVKvBytes, publishedFastVMacs } from '../../src/cost/fastv.ts';
import { fastV, none } from '../../src/methods/index.ts';
import { DESCRIBE, describeGenerate, PICTURES, refusal } from './scene.ts';

const LLAMA_13B = { hiddenSize: 5120, intermediateSize: 13824, kvWidth: 5120, numLayers: 40 };
const LLAMA_7B = { hiddenSize: 4096, intermediateSize: 11008, kvWidth: 4096, numLayers: 32 };
const MIB = 2 ** 20;
const prompt = (k: number, percent: number) => ({ rows: 612, imageRows: 576, k, r: percent / 100 });

describe('cost of 36 rows of text and 576 of an image', () => {
  test.each([
    [2, 90, 29.7],
    [2, 75, 50.2],
    [2, 50, 84.6],
    [3, 90, 33],
    [3, 75, 52.9],
    [3, 50, 86.4],
    [5, 90, 39.6],
    [5, 75, 58.4],
    [5, 50, 90.1],
  ])('13B, K = %i, R = %i %%: %f billion multiply-adds a layer, as in table 1 of the paper, to 0.05', (k, percent, published) => {
    const { base, average } = publishedFastVMacs(LLAMA_13B, prompt(k, percent));
    expect(Math.abs(average / 1e9 - published)).toBeLessThan(0.05);
    expect(Math.abs(base / 1e9 - 154.6)).toBeLessThan(0.05);
  });

  test.each([
    [2, 50, 171],
    [3, 50, 175.5],
    [2, 75, 103.5],
    [5, 75, 123.75],
    [2, 90, 63.19],
  ])('7B in f16, K = %i, R = %i %%: %f of 306 MiB of keys and values', (k, percent, mebibytes) => {
    expect(fastVKvBytes(LLAMA_7B, prompt(k, percent), 2) / MIB).toBeCloseTo(mebibytes, 2);
    expect(fastVKvBytes(LLAMA_7B, prompt(k, 0), 2) / MIB).toBe(306);
  });

  test('one row more or less by the rounding', () => {
    const bytes = (rounding: 'round' | 'floor') => fastVKvBytes(LLAMA_7B, { ...prompt(31, 90), rounding }, 2);
    expect(bytes('round') - bytes('floor')).toBe(2 * 2 * 4096); // 57.6 rows in one layer
  });
});

describeGenerate((scene) => {
  const ask = (method = none(), image: string | readonly string[] = `${PICTURES}/000.png`) =>
    scene.full.generate(
      typeof image === 'string'
        ? { image, question: DESCRIBE.question, method }
        : { image, prompt: '<bos> user : <image> , <image> describe assistant :', method },
    );

  test('R = 0 changes nothing; R = 1 leaves text only behind layer K', async () => {
    const plain = await ask();
    const all = await ask(fastV({ r: 0 }));
    expect({ ...all.stats, method: 'none' }).toMatchObject({ promptRows: plain.stats.promptRows, kvBytesAfter: plain.stats.kvBytesAfter });
    expect(all.ids).toEqual(plain.ids);
    const { stats } = await ask(fastV({ k: 1, r: 1 }));
    const text = stats.promptRows - 144;
    expect(stats.layers.map(({ cached }) => cached)).toEqual([stats.promptRows, text, text, text]);
  });

  test('one picture and two: rows and cache of every layer', async () => {
    for (const images of [`${PICTURES}/000.png`, [`${PICTURES}/000.png`, `${PICTURES}/001.png`]]) {
      const { stats } = await ask(fastV({ r: 0.75 }), images);
      const pictures = typeof images === 'string' ? 1 : 2;
      const [n, left] = [stats.promptRows, stats.promptRows - 108 * pictures];
      expect(stats.layers.map(({ attended }) => attended)).toEqual([n, n, left, left]);
      expect(stats.layers.map(({ cached }) => cached)).toEqual([n, n, left, left]);
    }
  });

  test('as many layers in full as there are is refused; a picture encoded for none is taken', async () => {
    await expect(ask(fastV({ k: 4 }))).rejects.toEqual(refusal('invalid-argument', 'k'));
    const { text } = await scene.full.generate({ image: scene.plainPicture, question: DESCRIBE.question, method: fastV() });
    expect(text).toBe((await ask(fastV())).text);
  });
});
