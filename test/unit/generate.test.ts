/** `generate` on the bundled toy models, self-trained on synthetic scenes. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { methodByName, none, skipVision } from '../../src/methods/index.ts';
import { toImage } from '../../src/model/image.ts';
import { KvCache } from '../../src/model/kv-cache.ts';
import type { Method } from '../../src/model/method.ts';
import { assemble, type Part, type Sequence } from '../../src/model/sequence.ts';
import { type EncodedImage, loadModel, type Vlm } from '../../src/model/vlm.ts';

const PICTURES = 'examples/tiny-vlm/eval';
const DESCRIBE = { question: 'describe', answer: 'top left : cat , bottom left : lion , bottom right : umbrella' };
const WHAT = { question: 'what is at the bottom left ?', answer: 'lion' };
const COMMA = 8;
const EOS = 2;

function refusal(code: string, argument?: string): object {
  return expect.objectContaining(argument === undefined ? { code } : { code, argument });
}

const BACKENDS: readonly (readonly [name: string, make: () => Backend | Promise<Backend>])[] = [
  ['reference', () => createReferenceBackend()],
  ['wasm', () => createWasmBackend()],
];

describe.each(BACKENDS)('generate on %s', (_name, makeBackend) => {
  let backend: Backend;
  let model: Vlm;
  let full: Vlm;
  let trained: Method;
  /** 000.png for the trained method, and for none (by the checkpoint trained without skipping). */
  let picture: EncodedImage;
  let plainPicture: EncodedImage;

  beforeAll(async () => {
    backend = await makeBackend();
    model = await loadModel('examples/tiny-vlm/skip', { backend });
    full = await loadModel('examples/tiny-vlm/full', { backend });
    trained = methodByName('skip-vision', model.config);
    picture = await model.encodeImage(`${PICTURES}/000.png`, { method: trained });
    plainPicture = await full.encodeImage(`${PICTURES}/000.png`);
  });

  afterAll(async () => {
    for (const made of [picture, plainPicture, model, full]) made[Symbol.dispose]();
    expect(backend.memory()).toMatchObject({ tensors: 0, weights: 0 });
    await backend[Symbol.asyncDispose]();
  });

  /** Bytes of keys and values of so many rows in all layers. */
  function rowBytes(rows: number): number {
    const { numLayers, numKvHeads, headDim } = model.config.text;
    return rows * numLayers * 2 * numKvHeads * headDim * 4;
  }

  function makeCache(capacity: number): KvCache {
    const { numLayers: layers, numKvHeads: kvHeads, headDim } = model.config.text;
    return new KvCache(backend, { layers, kvHeads, headDim, capacity });
  }

  /** The prompt as `generate` composes it. */
  function compose(prompt: string, images: readonly EncodedImage[]): Sequence {
    const parts: Part[] = [];
    const waiting = [...images];
    for (const id of model.tokenizer.encode(prompt)) {
      if (id === model.config.imageTokenId) parts.push(...waiting.shift()!.parts);
      else parts.push({ kind: 'text', rows: model.embed([id]) });
    }
    const sequence = assemble(backend, parts, model.config.text.hiddenSize);
    for (const { kind, rows } of parts) if (kind === 'text') rows.dispose();
    return sequence;
  }

  const promptOf = (question: string) => model.config.promptTemplate!.replace('{question}', question);

  describe('answers', () => {
    test('from a file, bytes, a URL and pixels; the numbers of the answer add up', async () => {
      const file = `${PICTURES}/000.png`;
      const bytes = new Uint8Array(await readFile(file));
      for (const image of [file, bytes, new Blob([bytes]), await toImage(bytes)]) {
        const { text, stats } = await model.generate({ image, ...WHAT, method: trained, maxTokens: 2 });
        expect(text).toBe(WHAT.answer);
        expect(stats).toMatchObject({ backend: backend.name, method: 'skip-vision', promptRows: 78, ffnRows: 39, generatedTokens: 2 });
        expect(stats).toMatchObject({ kvBytesBefore: rowBytes(78), kvBytesAfter: rowBytes(39) });
        for (const number of [stats.encodeFlops, stats.prefillFlops, stats.decodeFlops, stats.encodeMs, stats.prefillMs, stats.decodeMs]) {
          expect(number).toBeGreaterThan(0);
        }
      }
    });

    test('without a method every row attends, runs the FFN and stays', async () => {
      const { text, stats } = await full.generate({ image: plainPicture, question: 'describe' });
      expect(text).toBe(DESCRIBE.answer);
      expect(stats).toMatchObject({
        method: 'none',
        promptRows: 150,
        ffnRows: 150,
        kvBytesBefore: rowBytes(150),
        kvBytesAfter: rowBytes(150),
      });
    });

    test('onToken gives each id once, with a text that grows; the stop token is not spoken', async () => {
      const seen: { id: number; text: string }[] = [];
      const steps: number[] = [];
      const result = await model.generate({
        image: picture,
        question: 'describe',
        method: trained,
        onToken: (token) => seen.push(token),
        onLogits: (logits, step) => {
          expect(logits).toHaveLength(model.config.text.vocabSize);
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
      const stopped = await model.generate({ image: picture, question: 'describe', method: trained, stopTokens: [COMMA] });
      expect(stopped).toMatchObject({ text: 'top left : cat', finishReason: 'stop' });
      expect(stopped.ids.at(-1)).toBe(COMMA);
    });

    test('maxTokens cuts the answer short and says so; a limit that is just enough does not', async () => {
      const { ids } = await model.generate({ image: picture, question: 'describe', method: trained });
      for (const maxTokens of [1, 3, ids.length - 1]) {
        const cut = await model.generate({ image: picture, question: 'describe', method: trained, maxTokens });
        expect(cut).toMatchObject({ ids: ids.slice(0, maxTokens), finishReason: 'length' });
        expect(cut.stats).toMatchObject({ generatedTokens: maxTokens });
      }
      const whole = await model.generate({ image: picture, question: 'describe', method: trained, maxTokens: ids.length });
      expect(whole).toMatchObject({ ids, finishReason: 'stop' });
    });

    test('one token needs no decode step', async () => {
      const { stats } = await model.generate({ image: picture, question: 'describe', method: trained, maxTokens: 1 });
      expect(stats).toMatchObject({ generatedTokens: 1, decodeFlops: 0, decodeMsPerToken: 0 });
    });

    test('a prompt without a picture', async () => {
      const { ids, stats } = await model.generate({ prompt: '<bos> user : describe assistant :', maxTokens: 2, method: trained });
      expect(ids.length).toBeLessThanOrEqual(2);
      expect(stats).toMatchObject({ promptRows: 6, ffnRows: 6, kvBytesAfter: rowBytes(6), encodeFlops: 0 });
    });
  });

  describe('sampling', () => {
    const sample = async (options: { temperature?: number; topP?: number; seed?: number }) => {
      const { ids } = await model.generate({ image: picture, question: 'describe', method: trained, maxTokens: 8, ...options });
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

  describe('abort', () => {
    /** The memory and the answer afterwards must be those from before. */
    async function expectUnharmed(tensors: number): Promise<void> {
      expect(backend.memory().tensors).toBe(tensors);
      const { text } = await model.generate({ image: picture, ...WHAT, method: trained });
      expect(text).toBe(WHAT.answer);
      expect(backend.memory().tensors).toBe(tensors);
    }

    test('before the start', async () => {
      const { tensors } = backend.memory();
      const reason = new Error('changed my mind');
      const onToken = () => expect.unreachable();
      const asked = model.generate({ image: `${PICTURES}/000.png`, ...WHAT, signal: AbortSignal.abort(reason), onToken });
      await expect(asked).rejects.toBe(reason);
      await expectUnharmed(tensors);
    });

    /** Aborts as soon as the `nth` run of an op is seen. */
    async function abortAt(op: string, nth: number, chunkSize?: number): Promise<void> {
      const { tensors } = backend.memory();
      const controller = new AbortController();
      const reason = { why: `${nth}. ${op}` };
      let seen = 0;
      using _tracing = backend.trace((event) => {
        if (event.op === op && ++seen === nth) controller.abort(reason);
      });
      const asked = model.generate({
        image: `${PICTURES}/000.png`,
        question: 'describe',
        method: trained,
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
    // rope runs in the decoder only, twice a layer
    test('in the first layer of prefill', () => abortAt('rope', 1));
    test('in a later layer of prefill', () => abortAt('rope', 6));
    test('in the third chunk of prefill', () => abortAt('rope', 18, 20));
    test('in the last layer of prefill', () => abortAt('rope', 8));

    test('during decode', async () => {
      const { tensors } = backend.memory();
      for (const last of [1, 2, 5]) {
        const controller = new AbortController();
        const reason = new Error('enough');
        let count = 0;
        const onToken = () => {
          if (++count === last) controller.abort(reason);
        };
        const { signal } = controller;
        await expect(model.generate({ image: picture, question: 'describe', method: trained, signal, onToken })).rejects.toBe(reason);
        expect(count).toBe(last);
        await expectUnharmed(tensors);
      }
    });

    test('by a timeout rejects with its TimeoutError', async () => {
      const { tensors } = backend.memory();
      const signal = AbortSignal.timeout(1);
      const asked = model.generate({ image: `${PICTURES}/000.png`, question: 'describe', method: trained, signal });
      await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
      await expectUnharmed(tensors);
    });

    test('what a callback throws comes out of generate, and nothing stays behind', async () => {
      const { tensors } = backend.memory();
      const thrown = new Error('of the callback');
      const onToken = () => {
        throw thrown;
      };
      await expect(model.generate({ image: picture, question: 'describe', method: trained, onToken })).rejects.toBe(thrown);
      await expectUnharmed(tensors);
    });
  });

  describe('prefill in chunks', () => {
    const cases: readonly [name: string, model: () => Vlm, image: () => EncodedImage, method: () => Method][] = [
      ['none', () => full, () => plainPicture, none],
      ['skip-vision', () => model, () => picture, () => trained],
      ['skip-vision, hidden', () => model, () => picture, () => skipVision({ retained: 25, skipped: 39, mask: 'hidden' })],
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
      const asked = model.generate({ image: picture, question: 'describe', method: trained, chunkSize });
      await expect(asked).rejects.toThrow(refusal('invalid-argument', 'chunkSize'));
    });
  });

  describe('pictures', () => {
    test('one encoded picture, several questions', async () => {
      const questions = (await readFile(`${PICTURES}/questions.jsonl`, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Question);
      for (const { question, skip_kv } of questions.filter(({ image }) => image === '000.png')) {
        const { text, stats } = await model.generate({ image: picture, question, method: trained });
        expect(text, question).toBe(skip_kv);
        expect(stats.encodeFlops).toBe(0);
      }
      expect(picture.parts.every(({ rows }) => !rows.disposed)).toBe(true);
    });

    test('of one pixel, and far from square', async () => {
      for (const image of [
        { width: 1, height: 1, data: new Uint8Array([200, 10, 30]) },
        { width: 500, height: 3, data: new Uint8Array(4500).fill(90) },
      ]) {
        const { text, stats } = await model.generate({ image, question: 'describe', method: trained, maxTokens: 3 });
        expect(typeof text).toBe('string');
        expect(stats.promptRows).toBe(72);
      }
    });

    test('two in one prompt: both skipped blocks leave the cache, positions run on', async () => {
      using second = await model.encodeImage(`${PICTURES}/001.png`, { method: trained });
      const prompt = '<bos> user : <image> , <image> describe assistant :';
      const sequence = compose(prompt, [picture, second]);
      using embeds = sequence.embeds;
      const length = 3 + 66 + 1 + 66 + 3;
      expect(embeds.shape).toEqual([length, 128]);
      expect([...sequence.positions]).toEqual(Array.from({ length }, (_, i) => i));
      const blocks = sequence.segments.filter(({ kind }) => kind === 'skipped').map(({ start, end }) => [start, end]);
      expect(blocks).toEqual([
        [29, 68],
        [96, 135],
      ]);
      const kept = [...sequence.positions].filter((at) => !blocks.some(([start, end]) => start! <= at && at < end!));
      for (const chunkSize of [undefined, 31]) {
        using cache = makeCache(length);
        using _hidden = await model.decoder.prefill(sequence, { cache, method: trained, chunkSize });
        expect(cache.nextPosition).toBe(length);
        for (let layer = 0; layer < cache.layers; layer++) expect([...cache.positions(layer)]).toEqual(kept);
      }
      const images = [picture, second];
      const { ids, stats } = await model.generate({ prompt, image: images, method: trained, maxTokens: 6 });
      expect(stats).toMatchObject({ promptRows: length, ffnRows: kept.length, kvBytesAfter: rowBytes(kept.length) });
      const chunked = await model.generate({
        prompt,
        image: [`${PICTURES}/000.png`, second],
        method: trained,
        maxTokens: 6,
        chunkSize: 40,
      });
      expect(chunked.ids).toEqual(ids);
      const swapped: number[][] = [];
      for (const image of [images, images.toReversed()]) {
        const collected: number[] = [];
        await model.generate({ prompt, image, method: trained, maxTokens: 1, onLogits: (logits) => collected.push(...logits) });
        swapped.push(collected);
      }
      expect(swapped[0]).not.toEqual(swapped[1]);
    });

    test('too few, too many and none', async () => {
      const { tensors } = backend.memory();
      const twice = '<bos> user : <image> <image> describe assistant :';
      for (const options of [
        { question: 'describe' },
        { question: 'describe', image: [] },
        { question: 'describe', image: [picture, picture] },
        { prompt: twice, image: picture },
        { prompt: '<bos> describe', image: picture },
      ]) {
        await expect(model.generate({ ...options, method: trained })).rejects.toThrow(refusal('invalid-argument', 'image'));
      }
      expect(backend.memory().tensors).toBe(tensors);
    });

    test('encoded for another method', async () => {
      await expect(model.generate({ image: picture, question: 'describe' })).rejects.toThrow(/encoded for method "skip-vision".*"none"/);
      using plain = await model.encodeImage(`${PICTURES}/000.png`, { method: none() });
      await expect(model.generate({ image: plain, question: 'describe', method: trained })).rejects.toThrow(
        refusal('invalid-argument', 'image'),
      );
    });

    test('that cannot be read, and a good one before it', async () => {
      const { tensors } = backend.memory();
      const prompt = '<bos> <image> <image> describe';
      for (const bad of ['no-such-picture.png', new Uint8Array(3), `${PICTURES}/questions.jsonl`]) {
        await expect(model.generate({ prompt, image: [`${PICTURES}/000.png`, bad], method: trained })).rejects.toThrow(
          refusal('invalid-image'),
        );
      }
      expect(backend.memory().tensors).toBe(tensors);
    });

    test('a method whose parameters the checkpoint lacks, or whose settings do not fit the picture', async () => {
      const { tensors } = backend.memory();
      const image = `${PICTURES}/000.png`;
      await expect(full.generate({ image, question: 'describe', method: trained })).rejects.toThrow(
        refusal('unsupported', 'skip_vision.summary.norm.weight'),
      );
      for (const [argument, options] of [
        ['retained', { retained: 145, skipped: 0 }],
        ['skipped', { retained: 25, skipped: 120 }],
        ['skipped', { retained: 25, skipped: 0 }],
      ] as const) {
        const asked = model.generate({ image, question: 'describe', method: skipVision(options) });
        await expect(asked).rejects.toThrow(refusal('invalid-argument', argument));
      }
      expect(backend.memory().tensors).toBe(tensors);
    });
  });

  describe('prompts', () => {
    test.each(['', '  \n\t'])('an empty question: %j', async (question) => {
      await expect(model.generate({ image: picture, question, method: trained })).rejects.toThrow(refusal('invalid-argument', 'question'));
    });

    test('question and prompt, and neither', async () => {
      const prompt = promptOf('describe');
      await expect(model.generate({ image: picture, question: 'describe', prompt, method: trained })).rejects.toThrow(
        refusal('invalid-argument', 'question'),
      );
      await expect(model.generate({ image: picture, method: trained })).rejects.toThrow(refusal('invalid-argument', 'question'));
      await expect(model.generate({ prompt: '' })).rejects.toThrow(refusal('invalid-argument', 'prompt'));
    });

    test('a question that speaks of placeholders is left alone', async () => {
      const { stats } = await model.generate({ image: picture, question: "describe $' $& {question}", method: trained, maxTokens: 1 });
      expect(stats.promptRows).toBeGreaterThan(72);
    });

    test.each([0, -3, 2.5, Number.NaN])('maxTokens %d', async (maxTokens) => {
      await expect(model.generate({ image: picture, question: 'describe', method: trained, maxTokens })).rejects.toThrow(
        refusal('invalid-argument', 'maxTokens'),
      );
    });

    test('up to the last position of the context, and not beyond', async () => {
      const { tensors } = backend.memory();
      const rest = 512 - 71; // rows of the prompt around a question
      const ask = (words: number, maxTokens?: number) =>
        model.generate({ image: picture, question: '? '.repeat(words), method: trained, maxTokens, chunkSize: 600 });
      const last = await ask(rest - 1, 5);
      expect(last).toMatchObject({ stats: { promptRows: 511, generatedTokens: 1 } });
      await expect(ask(rest)).rejects.toThrow(refusal('context-exceeded', 'prompt'));
      await expect(ask(2000)).rejects.toThrow(/512 positions/);
      expect(backend.memory().tensors).toBe(tensors);
    });
  });

  describe('memory', () => {
    const tensorsAtFirstToken = async (method: Method, chunkSize?: number) => {
      const { tensors } = backend.memory();
      let during = 0;
      const onToken = () => {
        during = backend.memory().tensors;
      };
      await model.generate({ image: picture, question: 'describe', method, chunkSize, maxTokens: 1, onToken });
      expect(backend.memory().tensors).toBe(tensors);
      return during;
    };

    test('the evicted rows are not there while the answer is decoded', async () => {
      const keepAll = await tensorsAtFirstToken(skipVision({ retained: 25, skipped: 39, evict: false }));
      expect(keepAll - (await tensorsAtFirstToken(trained))).toBe(rowBytes(39));
      const positions = 4 * 72; // of the chunks' attention; the cache keeps the last list of them until the next step
      expect(await tensorsAtFirstToken(trained, 7)).toBe((await tensorsAtFirstToken(trained)) + positions);
    });

    test('the cache of a prefill holds the kept rows in every layer, and eviction frees the others', async () => {
      const sequence = compose(promptOf('describe'), [picture]);
      using embeds = sequence.embeds;
      expect(embeds.shape[0]).toBe(72);
      const before = backend.memory();
      using evicted = makeCache(33);
      using _first = await model.decoder.prefill(sequence, { cache: evicted, method: trained });
      const between = backend.memory();
      using kept = makeCache(72);
      using _second = await model.decoder.prefill(sequence, { cache: kept, method: { ...trained, evict: undefined } });
      const after = backend.memory();
      expect(evicted.bytes).toBe(rowBytes(33));
      expect(kept.bytes).toBe(rowBytes(72));
      for (let layer = 0; layer < 4; layer++) expect(evicted.layerBytes(layer)).toBe(rowBytes(33) / 4);
      expect(after.tensors - between.tensors - (between.tensors - before.tensors)).toBe(rowBytes(39));

      kept.evict(trained.evict!(sequence), { capacity: 33 });
      expect(kept.bytes).toBe(rowBytes(33));
      expect(kept.capacityBytes).toBe(rowBytes(33));
      expect(after.tensors - backend.memory().tensors).toBe(rowBytes(39));
      for (let layer = 0; layer < 4; layer++) {
        expect(kept.positions(layer)).toEqual(evicted.positions(layer));
        const [a, b] = [await backend.read(kept.keys(layer)), await backend.read(evicted.keys(layer))];
        expect(a).toEqual(b);
      }
      // what eviction freed serves new tensors: nothing more is taken from the system
      const { reserved } = backend.memory();
      using _reuse = backend.empty({ dtype: 'f32', shape: [rowBytes(39) / 4 / 8] });
      expect(backend.memory().reserved).toBeLessThanOrEqual(backend.name === 'reference' ? reserved + rowBytes(39) / 8 : reserved);
    });

    test('a prefill or decode that fails leaves the cache as it was', async () => {
      const sequence = compose(promptOf('describe'), [picture]);
      using _embeds = sequence.embeds;
      using cache = makeCache(40);
      using _hidden = await model.decoder.prefill(sequence, { cache, method: trained });
      const state = () => ({ next: cache.nextPosition, positions: Array.from({ length: 4 }, (_, layer) => [...cache.positions(layer)]) });
      const before = state();
      const { tensors } = backend.memory();

      using more = model.embed(Array.from({ length: 8 }, () => COMMA));
      await expect(model.decoder.decode(more, cache)).rejects.toThrow(refusal('cache-full'));
      expect(state()).toEqual(before);

      const follow = {
        embeds: more,
        positions: Uint32Array.from({ length: 8 }, (_, i) => 72 + i),
        segments: [{ kind: 'text', start: 0, end: 8 }],
      } as const;
      await expect(model.decoder.prefill(follow, { cache, chunkSize: 3 })).rejects.toThrow(refusal('cache-full'));
      expect(state()).toEqual(before);

      const reason = new Error('stop');
      for (const layer of [0, 2, 3]) {
        const controller = new AbortController();
        const onLayer = (index: number) => {
          if (index === layer) controller.abort(reason);
        };
        using seven = more.view([7, 128]);
        const shorter = {
          embeds: seven,
          positions: follow.positions.subarray(0, 7),
          segments: [{ kind: 'text', start: 0, end: 7 }],
        } as const;
        await expect(model.decoder.prefill(shorter, { cache, signal: controller.signal, onLayer })).rejects.toBe(reason);
        expect(state()).toEqual(before);
      }
      expect(backend.memory().tensors - tensors).toBe(more.bytes + 4 * 40); // the cache keeps the last position list
      using next = model.embed([COMMA]);
      using _output = await model.decoder.decode(next, cache);
      expect(cache.nextPosition).toBe(73);
    });
  });
});

interface Question {
  image: string;
  question: string;
  skip_kv: string;
}
