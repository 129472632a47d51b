import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { widened } from '../../src/backend/f16.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import type { FloatDType, Tensor } from '../../src/backend/tensor.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { KvCache } from '../../src/model/stack/kv-cache.ts';
import { rowsOutside } from '../../src/model/stack/kv-layer.ts';
import { lowerBound } from '../../src/ops/attention.ts';
import { range } from '../../src/model/stack/rows.ts';

const [LAYERS, HEADS, HEAD_DIM, CAPACITY] = [2, 2, 4, 10];
const WIDTH = HEADS * HEAD_DIM;

function refusal(code: string, argument: string): object {
  return expect.objectContaining({ code, argument });
}

const BACKENDS: readonly (readonly [name: string, dtype: FloatDType, make: () => Backend | Promise<Backend>])[] = [
  ['reference', 'f32', () => createReferenceBackend()],
  ['reference', 'f16', () => createReferenceBackend()],
  ['wasm', 'f32', () => createWasmBackend()],
  ['wasm', 'f16', () => createWasmBackend()],
];

describe.each(BACKENDS)('KvCache on %s in %s', (_name, dtype, makeBackend) => {
  const ROW_BYTES = 2 * WIDTH * (dtype === 'f16' ? 2 : 4);
  let backend: Backend;
  let cache: KvCache;

  beforeAll(async () => {
    backend = await makeBackend();
  });

  beforeEach(() => {
    cache = new KvCache(backend, { layers: LAYERS, kvHeads: HEADS, headDim: HEAD_DIM, capacity: CAPACITY, dtype });
    return () => {
      cache[Symbol.dispose]();
      expect(backend.memory().tensors).toBe(0);
    };
  });

  afterAll(() => backend[Symbol.asyncDispose]());

  /** The key of a position in a layer: every element tells both, exactly in f16 too. Values are the negative. */
  const element = (layer: number, position: number, i: number) => 1000 * layer + 10 * position + i;

  function rowsAt(layer: number, positions: readonly number[], sign = 1): Tensor<'f32'> {
    const data = positions.flatMap((position) => Array.from({ length: WIDTH }, (_, i) => sign * element(layer, position, i)));
    return backend.upload(Float32Array.from(data), [positions.length, WIDTH]);
  }

  /** Appends to every layer as the decoder does. */
  function append(positions: readonly number[], rows?: Uint32Array): void {
    for (let layer = 0; layer < LAYERS; layer++) appendTo(layer, positions, rows);
    cache.nextOrder = positions.at(-1)! + 1;
  }

  function appendTo(layer: number, positions: readonly number[], rows?: Uint32Array): void {
    using k = rowsAt(layer, positions);
    using v = rowsAt(layer, positions, -1);
    cache.append(layer, k, v, Uint32Array.from(positions), rows);
  }

  /** Asserts what a layer holds, down to every element. */
  async function expectRows(layer: number, positions: readonly number[]): Promise<void> {
    expect([...cache.order(layer)]).toEqual(positions);
    expect(cache.length(layer)).toBe(positions.length);
    expect(cache.layerBytes(layer)).toBe(positions.length * ROW_BYTES);
    const expected = positions.flatMap((position) => Array.from({ length: WIDTH }, (_, i) => element(layer, position, i)));
    expect(cache.keys(layer).shape).toEqual([cache.capacity(layer), HEADS, HEAD_DIM]);
    const [k, v] = [widened(await backend.read(cache.keys(layer))), widened(await backend.read(cache.values(layer)))];
    expect([...k.subarray(0, expected.length)]).toEqual(expected);
    expect([...v.subarray(0, expected.length)]).toEqual(expected.map((x) => -x));
  }

  async function expectAll(positions: readonly number[]): Promise<void> {
    for (let layer = 0; layer < LAYERS; layer++) await expectRows(layer, positions);
    expect(cache.bytes).toBe(LAYERS * positions.length * ROW_BYTES);
  }

  test('starts empty, with its room allocated', async () => {
    expect(cache).toMatchObject({ layers: LAYERS, nextOrder: 0, bytes: 0, capacityBytes: LAYERS * CAPACITY * ROW_BYTES });
    expect(backend.memory().tensors).toBe(cache.capacityBytes);
    await expectAll([]);
  });

  test('append puts rows behind rows and allocates nothing', async () => {
    const { tensors } = backend.memory();
    append([0, 1, 2]);
    append([3]);
    append([4, 7, 8]);
    expect(backend.memory().tensors).toBe(tensors);
    await expectAll([0, 1, 2, 3, 4, 7, 8]);
  });

  test('append takes a part of the rows', async () => {
    append([0, 1, 2, 3, 4], Uint32Array.of(0, 3, 4));
    await expectAll([0, 3, 4]);
    expect(cache.nextOrder).toBe(5);
    append([5, 6, 8], Uint32Array.of(1, 2));
    await expectAll([0, 3, 4, 6, 8]);
  });

  test('rows that were chosen on the device: their order is read back once it is asked for', async () => {
    append([0, 1]);
    const onDevice = backend.upload(Uint32Array.of(4, 6));
    using k = rowsAt(0, [4, 6]);
    using v = rowsAt(0, [4, 6], -1);
    cache.append(0, k, v, onDevice);
    expect(cache.length(0)).toBe(4);
    expect(() => cache.order(0)).toThrow(/settle/);
    await cache.settle();
    expect(onDevice.disposed).toBe(true);
    await expectRows(0, [0, 1, 4, 6]);
    await expectRows(1, [0, 1]);
  });

  test('rewind goes back to the rows that were held', async () => {
    append([0, 1, 2]);
    const mark = cache.mark();
    append([3, 5]);
    appendTo(1, [7]);
    cache.rewind(mark);
    await expectAll([0, 1, 2]);
    expect(cache.nextOrder).toBe(3);
  });

  test('positions must ascend beyond those held', async () => {
    append([0, 1, 5]);
    for (const positions of [[5], [4, 6], [6, 6], [8, 7]]) {
      expect(() => appendTo(0, positions)).toThrow(refusal('invalid-argument', 'order'));
    }
    await expectAll([0, 1, 5]);
  });

  test('full: a coded error, and nothing has changed', async () => {
    append([...range(0, 8)]);
    const { tensors } = backend.memory();
    expect(() => appendTo(1, [8, 9, 10])).toThrow(refusal('cache-full', 'k'));
    expect(() => appendTo(1, [8, 9, 10])).toThrow(/layer 1 holds 8 of 10 rows, no room for 3 more/);
    await expectAll([...range(0, 8)]);
    expect(cache.nextOrder).toBe(8);
    append([8, 9]);
    await expectAll([...range(0, 10)]);
    expect(() => appendTo(0, [10])).toThrow(refusal('cache-full', 'k'));
    expect(backend.memory().tensors).toBe(tensors);
  });

  test('compact keeps the listed rows with their positions, and later rows take the room', async () => {
    append([...range(0, 10)]);
    const { tensors } = backend.memory();
    for (let layer = 0; layer < LAYERS; layer++) cache.compact(layer, Uint32Array.of(0, 1, 6, 9));
    expect(backend.memory().tensors).toBe(tensors);
    await expectAll([0, 1, 6, 9]);
    expect(cache.nextOrder).toBe(10);
    append([...range(10, 16)]);
    await expectAll([0, 1, 6, 9, ...range(10, 16)]);
  });

  test('compact of a compaction is the compaction of both lists', async () => {
    append([...range(0, 10)]);
    cache.compact(0, Uint32Array.of(1, 2, 4, 6, 8, 9));
    cache.compact(0, Uint32Array.of(0, 3, 5));
    await expectRows(0, [1, 6, 9]);
    await expectRows(1, [...range(0, 10)]);
  });

  test('compact to none and to all', async () => {
    append([0, 1, 2]);
    cache.compact(0, Uint32Array.of());
    cache.compact(1, Uint32Array.of(0, 1, 2));
    await expectRows(0, []);
    await expectRows(1, [0, 1, 2]);
  });

  test('compact with a capacity frees the rest at once, or makes room', async () => {
    append([...range(0, 10)]);
    const { tensors } = backend.memory();
    cache.compact(0, Uint32Array.of(2, 3), { capacity: 3 });
    expect(tensors - backend.memory().tensors).toBe(7 * ROW_BYTES);
    expect(cache.capacityBytes).toBe(13 * ROW_BYTES);
    await expectRows(0, [2, 3]);
    cache.compact(1, range(0, 10), { capacity: 12 });
    expect(cache.capacity(1)).toBe(12);
    appendTo(1, [10, 11]);
    await expectRows(1, [...range(0, 12)]);
  });

  test.each([
    ['keep', Uint32Array.of(0, 3), undefined],
    ['keep', Uint32Array.of(1, 0), undefined],
    ['keep', Uint32Array.of(2, 1, 0), undefined],
    ['keep', Uint32Array.of(0, 0, 1), undefined],
    ['keep', Uint32Array.of(2, 1), 5],
    ['capacity', Uint32Array.of(0, 1, 2), 2],
  ])('compact refuses a bad %s: %o, capacity %o', async (argument, keep, capacity) => {
    append([0, 1, 2]);
    const { tensors } = backend.memory();
    expect(() => cache.compact(0, keep, { capacity })).toThrow(refusal('invalid-argument', argument));
    expect(backend.memory().tensors).toBe(tensors);
    await expectAll([0, 1, 2]);
  });

  test('evict drops positions, not rows, in all layers', async () => {
    append([...range(0, 10)]);
    cache.compact(0, Uint32Array.of(0, 2, 4, 6, 8));
    cache.evict([
      [1, 3],
      [6, 7],
    ]);
    await expectRows(0, [0, 4, 8]);
    await expectRows(1, [0, 3, 4, 5, 7, 8, 9]);
  });

  test('trim forgets a tail, whatever was evicted before it', async () => {
    append([...range(0, 8)]);
    cache.evict([[2, 5]]);
    cache.trim(7);
    await expectAll([0, 1, 5, 6]);
    expect(cache.nextOrder).toBe(7);
    append([7, 8, 9]);
    await expectAll([0, 1, 5, 6, 7, 8, 9]);
    cache.trim(100);
    expect(cache.nextOrder).toBe(10);
    cache.trim(3);
    await expectAll([0, 1]);
    expect(cache.nextOrder).toBe(3);
    cache.trim(0);
    await expectAll([]);
  });

  test('snapshot and restore: one image, many questions', async () => {
    append([...range(0, 6)]);
    cache.evict([[1, 3]]);
    const before = backend.memory().tensors;
    const snapshot = cache.snapshot();
    expect(backend.memory().tensors - before).toBe(LAYERS * 4 * ROW_BYTES);
    for (const tail of [[6, 7], [6], [9]]) {
      append(tail);
      await expectAll([0, 3, 4, 5, ...tail]);
      cache.restore(snapshot);
      await expectAll([0, 3, 4, 5]);
      expect(cache.nextOrder).toBe(6);
    }
    cache.compact(0, Uint32Array.of(), { capacity: 1 });
    cache.trim(0);
    cache.restore(snapshot);
    await expectAll([0, 3, 4, 5]);
    snapshot[Symbol.dispose]();
    await expectAll([0, 3, 4, 5]);
  });

  test('a snapshot of an empty cache', async () => {
    using snapshot = cache.snapshot();
    append([0, 1]);
    cache.restore(snapshot);
    await expectAll([]);
    expect(cache.nextOrder).toBe(0);
  });

  test('a cache too large for the backend leaves nothing behind', () => {
    const { tensors } = backend.memory();
    const capacity = Math.ceil(backend.limits.maxBufferBytes / (ROW_BYTES / 2)) + 1;
    expect(() => new KvCache(backend, { layers: 2, kvHeads: HEADS, headDim: HEAD_DIM, capacity, dtype })).toThrow(
      expect.objectContaining({ code: 'out-of-memory' }),
    );
    expect(backend.memory().tensors).toBe(tensors);
  });
});

test('with room for rows to come a layer is made when the first enter, and moves when they are more', async () => {
  const backend = createReferenceBackend();
  using cache = new KvCache(backend, {
    layers: [
      { kvHeads: 1, headDim: 2 },
      { kvHeads: 2, headDim: 4 },
    ],
    room: 3,
    dtype: 'f32',
  });
  expect(cache.capacityBytes).toBe(0);
  using two = backend.upload(Float32Array.of(1, 2, 3, 4), [2, 2]);
  cache.append(0, two, two, Uint32Array.of(0, 1));
  expect([cache.capacity(0), cache.capacity(1)]).toEqual([5, 0]);
  cache.append(0, two, two, Uint32Array.of(2, 3));
  expect(cache.capacity(0)).toBe(5);
  cache.append(0, two, two, Uint32Array.of(4, 5));
  expect(cache.capacity(0)).toBe(9);
  expect([...cache.order(0)]).toEqual([0, 1, 2, 3, 4, 5]);
  expect([...(await backend.read(cache.keys(0))).subarray(0, 12)]).toEqual([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
  expect(cache.layerBytes(0)).toBe(6 * 2 * 2 * 4);
  expect(cache.keys(1).shape).toEqual([0, 2, 4]);
  expect(() => new KvCache(backend, { layers: 1, kvHeads: 1, headDim: 2 })).toThrow(refusal('invalid-argument', 'capacity'));
});

test('lowerBound', () => {
  const list = Uint32Array.of(2, 5, 9);
  expect([0, 2, 3, 5, 9, 10].map((bound) => lowerBound(list, bound))).toEqual([0, 0, 1, 1, 2, 3]);
  expect(lowerBound(new Uint32Array(0), 4)).toBe(0);
});

test('rowsOutside', () => {
  expect([...rowsOutside(Uint32Array.of(0, 3, 5, 6, 9), [[3, 6]])]).toEqual([0, 3, 4]);
  expect([...rowsOutside(Uint32Array.of(0, 3, 5, 6, 9), [])]).toEqual([0, 1, 2, 3, 4]);
  expect([
    ...rowsOutside(Uint32Array.of(4), [
      [4, 4],
      [0, 4],
      [5, 9],
    ]),
  ]).toEqual([0]);
});
