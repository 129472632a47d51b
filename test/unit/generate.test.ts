/** `generate`: answers, sampling and prompts. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { toImage } from '../../src/model/image/image.ts';
import { COMMA, DESCRIBE, describeGenerate, EOS, PICTURES, refusal, WHAT } from './scene.ts';

describeGenerate((scene) => {
  describe('answers', () => {
    test('from a file, bytes, a URL and pixels; the numbers of the answer add up', async () => {
      const file = `${PICTURES}/000.png`;
      const bytes = new Uint8Array(await readFile(file));
      for (const image of [file, bytes, new Blob([bytes]), await toImage(bytes)]) {
        const { text, stats } = await scene.model.generate({ image, question: WHAT.question, method: scene.trained, maxTokens: 2 });
        expect(text).toBe(WHAT.answer);
        expect(stats).toMatchObject({
          backend: scene.backend.name,
          method: 'skip-vision',
          promptRows: 78,
          ffnRows: 39,
          generatedTokens: 2,
        });
        expect(stats).toMatchObject({ kvBytesBefore: scene.rowBytes(78), kvBytesAfter: scene.rowBytes(39) });
        for (const number of [stats.encodeFlops, stats.prefillFlops, stats.decodeFlops, stats.encodeMs, stats.prefillMs, stats.decodeMs]) {
          expect(number).toBeGreaterThan(0);
        }
      }
    });

    test('without a method every row attends, runs the FFN and stays', async () => {
      const { text, stats } = await scene.full.generate({ image: scene.plainPicture, question: 'describe' });
      expect(text).toBe(DESCRIBE.answer);
      expect(stats).toMatchObject({
        method: 'none',
        promptRows: 150,
        ffnRows: 150,
        kvBytesBefore: scene.rowBytes(150),
        kvBytesAfter: scene.rowBytes(150),
      });
    });

    test('a cache of f16 has half the bytes and gives the same answer, at once and in chunks', async () => {
      for (const chunkSize of [undefined, 20]) {
        const options = { question: 'describe', method: scene.trained, kvDtype: 'f16', chunkSize } as const;
        const logits: Float32Array[] = [];
        const { text, stats } = await scene.model.generate({ image: scene.picture, ...options, onLogits: (row) => logits.push(row) });
        expect(text).toBe(DESCRIBE.answer);
        expect(stats).toMatchObject({ kvBytesBefore: scene.rowBytes(72) / 2, kvBytesAfter: scene.rowBytes(33) / 2 });
        const exact: Float32Array[] = [];
        await scene.model.generate({ image: scene.picture, ...options, kvDtype: 'f32', onLogits: (row) => exact.push(row) });
        const off = Math.max(...logits.flatMap((row, step) => Array.from(row, (value, id) => Math.abs(value - exact[step]![id]!))));
        expect(off).toBeGreaterThan(0); // it was rounded
        expect(off).toBeLessThan(0.05); // f16 is off by 2^-11 of a number, logits are up to some 20
      }
    });

    test('onToken gives each id once, with a text that grows; the stop token is not spoken', async () => {
      const seen: { id: number; text: string }[] = [];
      const steps: number[] = [];
      const result = await scene.model.generate({
        image: scene.picture,
        question: 'describe',
        method: scene.trained,
        onToken: (token) => seen.push(token),
        onLogits: (logits, step) => {
          expect(logits).toHaveLength(scene.model.config.vocabSize);
          expect(seen).toHaveLength(step);
          steps.push(step);
        },
      });
      expect(result).toMatchObject({ text: DESCRIBE.answer, finishReason: 'stop' });
      expect(result.ids.at(-1)).toBe(EOS);
      expect(seen.map(({ id }) => id)).toEqual(result.ids.slice(0, -1));
      seen.forEach(({ text }, i) => {
        const before = seen[i - 1]?.text ?? '';
        expect(text.startsWith(before) && text.length > before.length, `"${text}" after "${before}"`).toBe(true);
      });
      expect(seen.at(-1)!.text).toBe(result.text);
      expect(steps).toEqual(result.ids.map((_, i) => i));
    });

    test('a stop token of the caller ends the answer and is not spoken', async () => {
      const stopped = await scene.model.generate({
        image: scene.picture,
        question: 'describe',
        method: scene.trained,
        stopTokens: [COMMA],
      });
      expect(stopped).toMatchObject({ text: 'top left : cat', finishReason: 'stop' });
      expect(stopped.ids.at(-1)).toBe(COMMA);
    });

    test('maxTokens cuts the answer short and says so; a limit that is just enough does not', async () => {
      const { ids } = await scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained });
      for (const maxTokens of [1, 3, ids.length - 1]) {
        const cut = await scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, maxTokens });
        expect(cut).toMatchObject({ ids: ids.slice(0, maxTokens), finishReason: 'length' });
        expect(cut.stats).toMatchObject({ generatedTokens: maxTokens });
      }
      const whole = await scene.model.generate({
        image: scene.picture,
        question: 'describe',
        method: scene.trained,
        maxTokens: ids.length,
      });
      expect(whole).toMatchObject({ ids, finishReason: 'stop' });
    });

    test('one token needs no decode step', async () => {
      const { stats } = await scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, maxTokens: 1 });
      expect(stats).toMatchObject({ generatedTokens: 1, decodeFlops: 0, decodeMsPerToken: 0 });
    });

    test('two answers at once: each counts its own work, as when they come one after the other', async () => {
      const ask = (question: string) => scene.model.generate({ image: `${PICTURES}/000.png`, question, method: scene.trained });
      const counts = ({ ids, stats }: Awaited<ReturnType<typeof ask>>) => {
        const { encodeFlops, prefillFlops, decodeFlops, layers } = stats;
        return { ids, encodeFlops, prefillFlops, decodeFlops, layers };
      };
      const alone = [counts(await ask('describe')), counts(await ask(WHAT.question))];
      const together = await Promise.all([ask('describe'), ask(WHAT.question)]);
      expect(together.map(counts)).toEqual(alone);
      expect(alone[0]!.prefillFlops).not.toBe(alone[1]!.prefillFlops);
      // 72 rows attend and 33 of them run the FFN; the last layer computes the last row alone
      const inner = { attended: 72, ffn: 33, cached: 33 };
      expect(alone[0]!.layers).toEqual([inner, inner, inner, { ...inner, ffn: 1 }]);
    });

    test('a prompt without a picture', async () => {
      const { ids, stats } = await scene.model.generate({
        prompt: '<bos> user : describe assistant :',
        maxTokens: 2,
        method: scene.trained,
      });
      expect(ids.length).toBeLessThanOrEqual(2);
      expect(stats).toMatchObject({ promptRows: 6, ffnRows: 6, kvBytesAfter: scene.rowBytes(6), encodeFlops: 0 });
    });
  });

  describe('sampling', () => {
    const sample = async (options: { temperature?: number; topP?: number; seed?: number }) => {
      const { ids } = await scene.model.generate({
        image: scene.picture,
        question: 'describe',
        method: scene.trained,
        maxTokens: 8,
        ...options,
      });
      return ids.join(' ');
    };

    test('temperature 0 is greedy, whatever the seed', async () => {
      expect(await sample({ temperature: 0, seed: 7 })).toBe(await sample({}));
    });

    test('a tiny nucleus is greedy at any temperature', async () => {
      expect(await sample({ temperature: 3, topP: 1e-6, seed: 7 })).toBe(await sample({}));
    });

    test('the same seed gives the same answer, and seeds differ', async () => {
      const answers = new Set<string>();
      for (const seed of [0, 1, 2, -3]) {
        const answer = await sample({ temperature: 3, topP: 0.95, seed });
        expect(await sample({ temperature: 3, topP: 0.95, seed })).toBe(answer);
        answers.add(answer);
      }
      expect(answers.size).toBeGreaterThan(1);
    });

    test.each([
      ['temperature', { temperature: -1 }],
      ['temperature', { temperature: Number.NaN }],
      ['topP', { topP: 0 }],
      ['topP', { topP: 1.5 }],
      ['seed', { seed: 0.5 }],
    ])('bad %s %o', async (argument, options) => {
      await expect(sample(options)).rejects.toThrow(refusal('invalid-argument', argument));
    });
  });

  describe('prompts', () => {
    test.each(['', '  \n\t'])('an empty question: %j', async (question) => {
      await expect(scene.model.generate({ image: scene.picture, question, method: scene.trained })).rejects.toThrow(
        refusal('invalid-argument', 'question'),
      );
    });

    test('question and prompt, and neither', async () => {
      const prompt = scene.promptOf('describe');
      await expect(scene.model.generate({ image: scene.picture, question: 'describe', prompt, method: scene.trained })).rejects.toThrow(
        refusal('invalid-argument', 'question'),
      );
      await expect(scene.model.generate({ image: scene.picture, method: scene.trained })).rejects.toThrow(
        refusal('invalid-argument', 'question'),
      );
      await expect(scene.model.generate({ prompt: '' })).rejects.toThrow(refusal('invalid-argument', 'prompt'));
    });

    test('a question that speaks of placeholders is left alone', async () => {
      const { stats } = await scene.model.generate({
        image: scene.picture,
        question: "describe $' $& {question}",
        method: scene.trained,
        maxTokens: 1,
      });
      expect(stats.promptRows).toBeGreaterThan(72);
    });

    test.each([0, -3, 2.5, Number.NaN])('maxTokens %d', async (maxTokens) => {
      await expect(scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, maxTokens })).rejects.toThrow(
        refusal('invalid-argument', 'maxTokens'),
      );
    });

    test('up to the last position of the context, and not beyond', async () => {
      const { tensors } = scene.backend.memory();
      const rest = 512 - 71; // rows of the prompt around a question
      const ask = (words: number, maxTokens?: number) =>
        scene.model.generate({ image: scene.picture, question: '? '.repeat(words), method: scene.trained, maxTokens, chunkSize: 600 });
      const last = await ask(rest - 1, 5);
      expect(last).toMatchObject({ stats: { promptRows: 511, generatedTokens: 1 } });
      await expect(ask(rest)).rejects.toThrow(refusal('context-exceeded', 'prompt'));
      await expect(ask(2000)).rejects.toThrow(/512 positions/);
      expect(scene.backend.memory().tensors).toBe(tensors);
    });
  });
});
