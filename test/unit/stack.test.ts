/** What the stack keeps whatever a method does: rows it sees, lists that are empty, angles, and what it refuses. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { llamaDecoder } from '../../src/model/families/blocks.ts';
import { Decoder, type PrefillOptions } from '../../src/model/stack/decoder.ts';
import type { Hooks, Plan, Run } from '../../src/model/stack/hooks.ts';
import { KvCache } from '../../src/model/stack/kv-cache.ts';
import { keepRows, range, type Stream } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import { Random } from '../random.ts';

const WIDTH = 24;
const ROWS = 12;
const LAYERS = 3;
const SPEC = llamaDecoder({
  hiddenSize: WIDTH,
  intermediateSize: 40,
  numLayers: LAYERS,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 6,
  rmsNormEps: 1e-5,
  ropeTheta: 100,
  hiddenAct: 'silu',
});
const random = new Random(5);
const weights = new Map<string, Float32Array>();
const source = {
  has: (name: string) => !name.endsWith('bias'),
  tensor(name: string, shape: readonly number[]) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (!weights.has(name)) weights.set(name, random.normal(size, shape.length > 1 ? 0.3 : 1));
    return weights.get(name)!;
  },
};
const list = (...rows: number[]) => Uint32Array.from(rows);

describe.each(['reference', 'wasm'])('the stack on %s', (name) => {
  let backend: Backend;
  let decoder: Decoder;
  let tensors: number;
  beforeAll(async () => {
    backend = name === 'wasm' ? await createWasmBackend() : createReferenceBackend();
    decoder = await Decoder.load(backend, source, SPEC, '');
    tensors = backend.memory().tensors;
  });
  afterAll(async () => {
    expect(backend.memory().tensors).toBe(tensors);
    decoder[Symbol.dispose]();
    await backend[Symbol.asyncDispose]();
  });

  const stream = (count = ROWS, first = 0, angles?: Uint32Array[]): Stream => ({
    x: backend.upload(new Random(3 + first).normal(count * WIDTH), [count, WIDTH]),
    rows: { order: range(first, first + count), angles, segments: [{ kind: 'text', start: 0, end: count }] },
  });
  async function prefill(cache: KvCache, given: Stream, options: Omit<PrefillOptions, 'cache'> = {}): Promise<number[]> {
    using x = given.x; // stays ours where the arguments are refused
    const { hidden } = await decoder.prefill({ ...given, x }, { cache, ...options });
    using _hidden = hidden;
    return [...(await backend.read(hidden))];
  }
  async function decode(cache: KvCache, count = 1, hooks?: Hooks): Promise<number[]> {
    using x = backend.upload(new Random(7).normal(count * WIDTH), [count, WIDTH]);
    using hidden = await decoder.decode(x, cache, { hooks });
    return [...(await backend.read(hidden))];
  }
  const lengths = (cache: KvCache) => Array.from({ length: LAYERS }, (_, layer) => cache.length(layer));
  const planOf = (plan: (layer: number, given: Stream) => unknown): Pick<Run, 'decoder'> => ({
    decoder: { plan: plan as (layer: number, given: Stream) => Plan },
  });

  test('what a hook sees of attention does not depend on what the cache will keep', async () => {
    const seen: number[][] = [];
    for (const evicted of [list(), list(1, 2, 3)]) {
      using cache = decoder.makeCache({ room: 4 });
      await prefill(cache, stream(6));
      const run: Run = {
        decoder: {
          async after(layer, _stream, { scores }) {
            using probabilities = layer === 0 ? scores(ROWS - 1, 'mean') : undefined;
            if (probabilities) seen.push([...(await backend.read(probabilities))]);
            return undefined;
          },
        },
        evict: () => evicted,
        [Symbol.dispose]() {},
      };
      await prefill(cache, stream(ROWS, 6), { run });
      expect(lengths(cache)).toEqual(Array(LAYERS).fill(6 + ROWS - evicted.length));
    }
    expect(seen[0]).toHaveLength(6 + ROWS);
    expect(seen[1]).toEqual(seen[0]);
  });

  test('lists without rows', async () => {
    using cache = decoder.makeCache({ room: 4 });
    expect(await prefill(cache, stream(0))).toEqual([]);
    expect(await prefill(cache, stream(), { outputRows: list() })).toEqual([]);
    expect(await decode(cache, 0)).toEqual([]);
    expect([cache.nextOrder, ...lengths(cache)]).toEqual([ROWS, ROWS, ROWS, ROWS]);
    const hooks: Hooks = { phase: 'always', plan: (layer) => (layer === 1 ? { rows: list() } : { ffnRows: list() }) };
    using other = decoder.makeCache({ room: 4 });
    await prefill(other, stream(), { run: { decoder: hooks }, chunkSize: 5 });
    await decode(other, 1, hooks);
    expect(lengths(other)).toEqual([ROWS + 1, 0, ROWS + 1]);
  });

  test('answers depend on differences of angles only, in decoding too', async () => {
    const answers: number[][] = [];
    for (const shift of [0, 40]) {
      using cache = decoder.makeCache({ room: 4 });
      const first = await prefill(cache, stream(ROWS, 0, [range(shift, shift + ROWS)]));
      const mark = cache.mark();
      const next = await decode(cache, 2);
      cache.rewind(mark);
      expect(await decode(cache, 2)).toEqual(next);
      cache.trim(ROWS);
      expect([cache.nextOrder, cache.nextAngle]).toEqual([ROWS, shift + ROWS]);
      answers.push([...first, ...next]);
    }
    for (const [i, value] of answers[1]!.entries()) expect(value).toBeCloseTo(answers[0]![i]!, 3);
  });

  test('rows of a plan that is evicted from leave as all others do', async () => {
    using cache = decoder.makeCache({ room: 4 });
    const asked: number[] = [];
    const evict = (layer: number, { order }: Stream['rows']) => {
      asked.push(layer, order.length);
      return list(1);
    };
    await prefill(cache, stream(), { run: { ...planOf((layer) => (layer === 1 ? { rows: list(0, 2, 4, 6) } : {})), evict } });
    expect(asked).toEqual([0, ROWS, 1, 4, 2, ROWS]);
    expect(lengths(cache)).toEqual([ROWS - 1, 3, ROWS - 1]);
    expect([...cache.order(1)]).toEqual([0, 4, 6]);
  });

  test.each<[string, string, (given: () => Stream) => Omit<PrefillOptions, 'cache'> & { stream?: Stream }]>([
    ['a plan with a name that nobody knows', 'ffnrows', () => ({ run: planOf(() => ({ ffnrows: list() })) })],
    ['rows as a plain array', 'rows', () => ({ run: planOf(() => ({ rows: [1, 2] })) })],
    ['a gate without rows', 'gate', () => ({ run: planOf((_, { x }) => ({ gate: x })) })],
    ['rows and rows of the FFN', 'ffnRows', () => ({ run: planOf(() => ({ rows: list(1), ffnRows: list(1) })) })],
    ['evicted rows that do not ascend', 'rows', () => ({ run: { evict: () => list(3, 3) } })],
    ['evicted rows that are not there', 'rows', () => ({ run: { evict: () => list(ROWS) } })],
    ['output rows that are not there', 'outputRows', () => ({ outputRows: list(ROWS) })],
    ['three lists of angles', 'angles', () => ({ stream: stream(ROWS, 2, [range(0, ROWS), range(0, ROWS), range(0, ROWS)]) })],
    ['angles of fewer rows', 'stream', () => ({ stream: stream(ROWS, 0, [range(0, 5)]) })],
    ['rows before those held', 'order', () => ({ stream: stream(ROWS, 1) })],
  ])('refused: %s', async (_, argument, make) => {
    using cache = decoder.makeCache({ room: 4 });
    await prefill(cache, stream(2));
    const { stream: given = stream(ROWS, 2), ...options } = make(stream);
    await expect(prefill(cache, given, options)).rejects.toMatchObject({ argument });
    expect([cache.nextOrder, ...lengths(cache)]).toEqual([2, 2, 2, 2]);
  });

  test('refused: other rows after attention where the plan lists rows of the FFN', async () => {
    using cache = decoder.makeCache({ room: 4 });
    const work = new Work(backend);
    const hooks: Hooks = { plan: () => ({ ffnRows: list(2) }), between: (_, given) => keepRows(work, given, list(0, 5)) };
    await expect(prefill(cache, stream(), { run: { decoder: hooks } })).rejects.toMatchObject({ argument: 'rows' });
  });

  test('a cache whose order is on the device is copied and cut after settle only, as a whole', async () => {
    using cache = new KvCache(backend, { layers: 2, kvHeads: 1, headDim: 2, capacity: 8 });
    using k = backend.upload(new Float32Array(6), [3, 1, 2]);
    cache.append(0, k, k, list(0, 1, 2));
    cache.append(1, k, k, backend.upload(list(3, 5, 9)));
    for (const call of [() => cache.snapshot(), () => cache.trim(1), () => cache.evict([[0, 1]])])
      expect(call).toThrow(expect.objectContaining({ code: 'unsupported' }));
    await cache.settle();
    expect(() => cache.evict([[0, 2]], { capacity: 1 })).toThrow(expect.objectContaining({ argument: 'capacity' }));
    expect([cache.length(0), cache.length(1)]).toEqual([3, 3]);
    using snapshot = cache.snapshot();
    cache.restore(snapshot);
    expect([...cache.order(1)]).toEqual([3, 5, 9]);
  });
});
