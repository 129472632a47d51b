/** `generate`: what an answer holds, and what it leaves behind when it is aborted or fails. */
import { describe, expect, test } from 'vitest';
import { skipVision } from '../../src/methods/index.ts';
import type { Method } from '../../src/model/stack/hooks.ts';
import type { Stream } from '../../src/model/stack/rows.ts';
import { COMMA, describeGenerate, PICTURES, refusal, WHAT } from './scene.ts';

describeGenerate((scene) => {
  describe('abort', () => {
    /** The memory and the answer afterwards must be those from before. */
    async function expectUnharmed(tensors: number): Promise<void> {
      expect(scene.backend.memory().tensors).toBe(tensors);
      const { text } = await scene.model.generate({ image: scene.picture, question: WHAT.question, method: scene.trained });
      expect(text).toBe(WHAT.answer);
      expect(scene.backend.memory().tensors).toBe(tensors);
    }

    test('before the start', async () => {
      const { tensors } = scene.backend.memory();
      const reason = new Error('changed my mind');
      const onToken = () => expect.unreachable();
      const asked = scene.model.generate({
        image: `${PICTURES}/000.png`,
        question: WHAT.question,
        signal: AbortSignal.abort(reason),
        onToken,
      });
      await expect(asked).rejects.toBe(reason);
      await expectUnharmed(tensors);
    });

    /** Aborts as soon as the `nth` run of an op is seen. */
    async function abortAt(op: string, nth: number, chunkSize?: number): Promise<void> {
      const { tensors } = scene.backend.memory();
      const controller = new AbortController();
      const reason = { why: `${nth}. ${op}` };
      let seen = 0;
      using _tracing = scene.backend.trace((event) => {
        if (event.op === op && ++seen === nth) controller.abort(reason);
      });
      const asked = scene.model.generate({
        image: `${PICTURES}/000.png`,
        question: 'describe',
        method: scene.trained,
        chunkSize,
        signal: controller.signal,
        onToken: () => expect.unreachable(),
      });
      await expect(asked).rejects.toBe(reason);
      await expectUnharmed(tensors);
    }

    test('while the picture is encoded', () => abortAt('patch_embedding', 1));
    test('with the CLS scores at hand', () => abortAt('attention_scores', 1));
    test('while the rows are chosen', () => abortAt('top_k_rows', 1));
    // rope_append runs in the decoder only, once a layer
    test('in the first layer of prefill', () => abortAt('rope_append', 1));
    test('in a later layer of prefill', () => abortAt('rope_append', 3));
    test('in the third chunk of prefill', () => abortAt('rope_append', 9, 20));
    test('in the last layer of prefill', () => abortAt('rope_append', 4));

    test('during decode', async () => {
      const { tensors } = scene.backend.memory();
      for (const last of [1, 2, 5]) {
        const controller = new AbortController();
        const reason = new Error('enough');
        let count = 0;
        const onToken = () => {
          if (++count === last) controller.abort(reason);
        };
        const { signal } = controller;
        await expect(
          scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, signal, onToken }),
        ).rejects.toBe(reason);
        expect(count).toBe(last);
        await expectUnharmed(tensors);
      }
    });

    test('by a timeout rejects with its TimeoutError', async () => {
      const { tensors } = scene.backend.memory();
      const signal = AbortSignal.timeout(1);
      const asked = scene.model.generate({ image: `${PICTURES}/000.png`, question: 'describe', method: scene.trained, signal });
      await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
      await expectUnharmed(tensors);
    });

    test('what a callback throws comes out of generate, and nothing stays behind', async () => {
      const { tensors } = scene.backend.memory();
      const thrown = new Error('of the callback');
      const onToken = () => {
        throw thrown;
      };
      await expect(scene.model.generate({ image: scene.picture, question: 'describe', method: scene.trained, onToken })).rejects.toBe(
        thrown,
      );
      await expectUnharmed(tensors);
    });
  });

  describe('memory', () => {
    const tensorsAtFirstToken = async (method: Method, chunkSize?: number) => {
      const { tensors } = scene.backend.memory();
      let during = 0;
      const onToken = () => {
        during = scene.backend.memory().tensors;
      };
      await scene.model.generate({ image: scene.picture, question: 'describe', method, chunkSize, maxTokens: 1, onToken });
      expect(scene.backend.memory().tensors).toBe(tensors);
      return during;
    };

    test('the evicted rows are not there while the answer is decoded', async () => {
      const keepAll = await tensorsAtFirstToken(skipVision({ retained: 25, skipped: 39, evict: false }));
      expect(keepAll - (await tensorsAtFirstToken(scene.trained))).toBe(scene.rowBytes(39));
      expect(await tensorsAtFirstToken(scene.trained, 7)).toBe(await tensorsAtFirstToken(scene.trained));
    });

    test('the cache of a prefill holds the kept rows in every layer, and eviction frees the others', async () => {
      const prompt = () => scene.compose(scene.promptOf('describe'), [scene.picture]);
      using run = await scene.startRun(scene.trained);
      const before = scene.backend.memory();
      using evicted = scene.makeCache(33);
      using _first = (await scene.model.decoder.prefill(prompt(), { cache: evicted, run })).hidden;
      const between = scene.backend.memory();
      using kept = scene.makeCache(72);
      using _second = (await scene.model.decoder.prefill(prompt(), { cache: kept, run: { decoder: run.decoder } })).hidden;
      const after = scene.backend.memory();
      expect(evicted.bytes).toBe(scene.rowBytes(33));
      expect(kept.bytes).toBe(scene.rowBytes(72));
      for (let layer = 0; layer < 4; layer++) expect(evicted.layerBytes(layer)).toBe(scene.rowBytes(33) / 4);
      expect(after.tensors - between.tensors - (between.tensors - before.tensors)).toBe(scene.rowBytes(39));

      kept.evict([[29, 68]], { capacity: 33 });
      expect(kept.bytes).toBe(scene.rowBytes(33));
      expect(kept.capacityBytes).toBe(scene.rowBytes(33));
      expect(after.tensors - scene.backend.memory().tensors).toBe(scene.rowBytes(39));
      for (let layer = 0; layer < 4; layer++) {
        expect(kept.order(layer)).toEqual(evicted.order(layer));
        const [a, b] = [await scene.backend.read(kept.keys(layer)), await scene.backend.read(evicted.keys(layer))];
        expect(a).toEqual(b);
      }
      // what eviction freed serves new tensors: nothing more is taken from the system
      const { reserved } = scene.backend.memory();
      using _reuse = scene.backend.empty({ dtype: 'f32', shape: [scene.rowBytes(39) / 4 / 8] });
      expect(scene.backend.memory().reserved).toBeLessThanOrEqual(
        scene.backend.name === 'reference' ? reserved + scene.rowBytes(39) / 8 : reserved,
      );
    });

    test('a prefill or decode that fails leaves the cache as it was', async () => {
      using cache = scene.makeCache(40);
      using run = await scene.startRun(scene.trained);
      using _hidden = (await scene.model.decoder.prefill(scene.compose(scene.promptOf('describe'), [scene.picture]), { cache, run }))
        .hidden;
      const state = () => ({ next: cache.nextOrder, order: Array.from({ length: 4 }, (_, layer) => [...cache.order(layer)]) });
      const before = state();
      const { tensors } = scene.backend.memory();

      using more = scene.model.embed(Array.from({ length: 8 }, () => COMMA));
      await expect(scene.model.decoder.decode(more, cache)).rejects.toThrow(refusal('cache-full'));
      expect(state()).toEqual(before);

      /** More text, which a prefill takes over. */
      const follow = (length: number): Stream => ({
        x: scene.model.embed(Array.from({ length }, () => COMMA)),
        rows: { order: Uint32Array.from({ length }, (_, i) => 72 + i), segments: [{ kind: 'text', start: 0, end: length }] },
      });
      await expect(scene.model.decoder.prefill(follow(8), { cache, chunkSize: 3 })).rejects.toThrow(refusal('cache-full'));
      expect(state()).toEqual(before);

      const reason = new Error('stop');
      for (const layer of [0, 2, 3]) {
        const controller = new AbortController();
        const onLayer = (index: number) => {
          if (index === layer) controller.abort(reason);
        };
        await expect(scene.model.decoder.prefill(follow(7), { cache, signal: controller.signal, onLayer })).rejects.toBe(reason);
        expect(state()).toEqual(before);
      }
      expect(scene.backend.memory().tensors - tensors).toBe(more.bytes);
      using next = scene.model.embed([COMMA]);
      using _output = await scene.model.decoder.decode(next, cache);
      expect(cache.nextOrder).toBe(73);
    });
  });
});
