/** `generate`: one picture, several and bad ones; prompts in one chunk and in several. */
import { describe, expect, test } from 'vitest';
import { none, skipVision } from '../../src/methods/index.ts';
import type { Method } from '../../src/model/stack/hooks.ts';
import type { EncodedImage } from '../../src/model/engine.ts';
import type { Vlm } from '../../src/model/vlm.ts';
import { readQuestions } from '../eval/questions.ts';
import { describeGenerate, PICTURES, refusal } from './scene.ts';

describeGenerate((scene) => {
  describe('pictures', () => {
    test('one encoded picture, several questions', async () => {
      const questions = await readQuestions(PICTURES);
      for (const { question, skip_kv } of questions.filter(({ image }) => image === '000.png')) {
        const { text, stats } = await scene.model.generate({ image: scene.picture, question, method: scene.trained });
        expect(text, question).toBe(skip_kv);
        expect(stats.encodeFlops).toBe(0);
      }
      expect(scene.picture.parts.every(({ rows }) => !rows.disposed)).toBe(true);
    });

    test('of one pixel, and far from square', async () => {
      for (const image of [
        { width: 1, height: 1, data: new Uint8Array([200, 10, 30]) },
        { width: 500, height: 3, data: new Uint8Array(4500).fill(90) },
      ]) {
        const { text, stats } = await scene.model.generate({ image, question: 'describe', method: scene.trained, maxTokens: 3 });
        expect(typeof text).toBe('string');
        expect(stats.promptRows).toBe(72);
      }
    });

    test('two in one prompt: both skipped blocks leave the cache, positions run on', async () => {
      using second = await scene.model.encodeImage(`${PICTURES}/001.png`, { method: scene.trained });
      const prompt = '<bos> user : <image> , <image> describe assistant :';
      const { x, rows } = scene.compose(prompt, [scene.picture, second]);
      x.dispose();
      const length = 3 + 66 + 1 + 66 + 3;
      expect(x.shape).toEqual([length, 128]);
      expect([...rows.order]).toEqual(Array.from({ length }, (_, i) => i));
      const blocks = rows.segments.filter(({ kind }) => kind === 'skipped').map(({ start, end }) => [start, end]);
      expect(blocks).toEqual([
        [29, 68],
        [96, 135],
      ]);
      const kept = [...rows.order].filter((at) => !blocks.some(([start, end]) => start! <= at && at < end!));
      for (const chunkSize of [undefined, 31]) {
        using cache = scene.makeCache(kept.length);
        using run = await scene.startRun(scene.trained);
        const { hidden } = await scene.model.decoder.prefill(scene.compose(prompt, [scene.picture, second]), { cache, run, chunkSize });
        hidden.dispose();
        expect(cache.nextOrder).toBe(length);
        for (let layer = 0; layer < cache.layers; layer++) expect([...cache.order(layer)]).toEqual(kept);
      }
      const images = [scene.picture, second];
      const { ids, stats } = await scene.model.generate({ prompt, image: images, method: scene.trained, maxTokens: 6 });
      expect(stats).toMatchObject({ promptRows: length, ffnRows: kept.length, kvBytesAfter: scene.rowBytes(kept.length) });
      const chunked = await scene.model.generate({
        prompt,
        image: [`${PICTURES}/000.png`, second],
        method: scene.trained,
        maxTokens: 6,
        chunkSize: 40,
      });
      expect(chunked.ids).toEqual(ids);
      const swapped: number[][] = [];
      for (const image of [images, images.toReversed()]) {
        const collected: number[] = [];
        await scene.model.generate({ prompt, image, method: scene.trained, maxTokens: 1, onLogits: (logits) => collected.push(...logits) });
        swapped.push(collected);
      }
      expect(swapped[0]).not.toEqual(swapped[1]);
    });

    test('too few, too many and none', async () => {
      const { tensors } = scene.backend.memory();
      const twice = '<bos> user : <image> <image> describe assistant :';
      for (const options of [
        { question: 'describe' },
        { question: 'describe', image: [] },
        { question: 'describe', image: [scene.picture, scene.picture] },
        { prompt: twice, image: scene.picture },
        { prompt: '<bos> describe', image: scene.picture },
      ]) {
        await expect(scene.model.generate({ ...options, method: scene.trained })).rejects.toThrow(refusal('invalid-argument', 'image'));
      }
      expect(scene.backend.memory().tensors).toBe(tensors);
    });

    test('encoded for another method', async () => {
      await expect(scene.model.generate({ image: scene.picture, question: 'describe' })).rejects.toThrow(
        /encoded for method "skip-vision .*"none"/,
      );
      using plain = await scene.model.encodeImage(`${PICTURES}/000.png`, { method: none() });
      await expect(scene.model.generate({ image: plain, question: 'describe', method: scene.trained })).rejects.toThrow(
        refusal('invalid-argument', 'image'),
      );
    });

    test('encoded with other settings; those that do not concern it may differ', async () => {
      const asked = (method: Method) => scene.model.generate({ image: scene.picture, question: 'describe', method, maxTokens: 1 });
      await expect(asked(skipVision({ retained: 25, skipped: 38 }))).rejects.toThrow(refusal('invalid-argument', 'image'));
      await expect(asked(skipVision({ retained: 25, skipped: 39, passLast: true }))).rejects.toThrow(refusal('invalid-argument', 'image'));
      expect((await asked(skipVision({ retained: 25, skipped: 39, evict: false, mask: 'hidden' }))).ids).toHaveLength(1);
    });

    test('that cannot be read, and a good one before it', async () => {
      const { tensors } = scene.backend.memory();
      const prompt = '<bos> <image> <image> describe';
      for (const bad of ['no-such-picture.png', new Uint8Array(3), `${PICTURES}/questions.jsonl`]) {
        await expect(scene.model.generate({ prompt, image: [`${PICTURES}/000.png`, bad], method: scene.trained })).rejects.toThrow(
          refusal('invalid-image'),
        );
      }
      expect(scene.backend.memory().tensors).toBe(tensors);
    });

    test('a method whose parameters the checkpoint lacks, or whose settings do not fit the picture', async () => {
      const { tensors } = scene.backend.memory();
      const image = `${PICTURES}/000.png`;
      await expect(scene.full.generate({ image, question: 'describe', method: scene.trained })).rejects.toThrow(
        refusal('unsupported', 'skip_vision.summary.norm.weight'),
      );
      for (const [argument, options] of [
        ['retained', { retained: 145, skipped: 0 }],
        ['skipped', { retained: 25, skipped: 120 }],
        ['skipped', { retained: 25, skipped: 0 }],
      ] as const) {
        const asked = scene.model.generate({ image, question: 'describe', method: skipVision(options) });
        await expect(asked).rejects.toThrow(refusal('invalid-argument', argument));
      }
      expect(scene.backend.memory().tensors).toBe(tensors);
    });
  });

  describe('prefill in chunks', () => {
    const cases: readonly [name: string, model: () => Vlm, image: () => EncodedImage, method: () => Method][] = [
      ['none', () => scene.full, () => scene.plainPicture, none],
      ['skip-vision', () => scene.model, () => scene.picture, () => scene.trained],
      ['skip-vision, hidden', () => scene.model, () => scene.picture, () => skipVision({ retained: 25, skipped: 39, mask: 'hidden' })],
    ];
    test.each(cases)('gives the answer of one chunk, logits within 1e-3: %s', async (_name, ofModel, ofImage, ofMethod) => {
      const ask = async (chunkSize?: number) => {
        const logits: number[] = [];
        const options = { image: ofImage(), question: 'describe', method: ofMethod(), chunkSize };
        const { ids, stats } = await ofModel().generate({ ...options, onLogits: (row) => logits.push(...row) });
        const { promptRows, ffnRows, kvBytesBefore, kvBytesAfter } = stats;
        return { ids, logits, rows: { promptRows, ffnRows, kvBytesBefore, kvBytesAfter } };
      };
      const whole = await ask();
      expect(whole.ids.length).toBeGreaterThan(4);
      for (const chunkSize of [1, 7, 29, 1000]) {
        const { ids, logits, rows } = await ask(chunkSize);
        expect(ids, `chunks of ${chunkSize}`).toEqual(whole.ids);
        expect(rows).toEqual(whole.rows);
        expect(Math.max(...logits.map((logit, i) => Math.abs(logit - whole.logits[i]!)))).toBeLessThan(1e-3);
      }
    });

    test.each([0, -1, 1.5, Number.NaN])('of %d rows are refused', async (chunkSize) => {
      const asked = scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, chunkSize });
      await expect(asked).rejects.toThrow(refusal('invalid-argument', 'chunkSize'));
    });
  });
});
