/** A row list is scanned once, and what the scan found holds for that list, that length and that memory only. */
import { expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { compactKv, embedding, topKRows } from '../../src/ops/index.ts';

const backends: [string, () => Promise<Backend>][] = [
  ['reference', async () => createReferenceBackend()],
  ['wasm', () => createWasmBackend()],
];

function keys(backend: Backend, rows: number): Tensor<'f32'> {
  return backend.upload(new Float32Array(rows), [1, rows, 1]);
}

test.each(backends)('%s: every run is checked anew where it differs', async (_, create) => {
  await using backend = await create();
  const compact = (keep: Tensor<'u32'>, rows: number) =>
    backend.run(compactKv, { k: keys(backend, rows), v: keys(backend, rows), keep }, {});
  const refused = (argument: string, got: string) => expect.objectContaining({ code: 'invalid-argument', op: 'compact_kv', argument, got });

  const keep = backend.upload(Uint32Array.of(1, 4, 6, 5));
  const front = keep.view([3]);
  compact(front, 7); // the last entry is not in this view
  compact(front, 7);
  expect(() => compact(front, 6)).toThrow(refused('keep', '6 at index 2'));
  expect(() => compact(keep, 7)).toThrow(refused('keep', '6 followed by 5 at index 3'));
  compact(keep.view([2]), 5);
  expect(() => compact(front, 5)).toThrow(refused('keep', '6 at index 2'));

  // in any order it is good for ids, and not for rows, in whatever turn
  const table = backend.upload(new Float32Array(8), [8, 1]);
  const look = () => backend.run(embedding, { table, ids: keep, y: backend.empty({ dtype: 'f32', shape: [4, 1] }) }, {});
  look();
  look();
  expect(() => compact(keep, 7)).toThrow(refused('keep', '6 followed by 5 at index 3'));
  compact(front, 7);
  look();
});

test.each(backends)('%s: a list that an op has written is what that op promises, not what a scan once found', async (_, create) => {
  await using backend = await create();
  const rows = backend.upload(Uint32Array.of(0, 2));
  const compact = () => backend.run(compactKv, { k: keys(backend, 3), v: keys(backend, 3), keep: rows }, {});
  compact();
  backend.run(topKRows, { scores: backend.upload(Float32Array.of(1, 3, 2, 0)), rows }, { k: 2 });
  expect(compact).toThrow(expect.objectContaining({ argument: 'keep', got: 'a list computed on the device, ascending and below 4' }));
});

test('an op that fails has perhaps written a part: nothing is known of its output any more', async () => {
  await using backend = createReferenceBackend();
  const rows = backend.upload(Uint32Array.of(0, 2));
  const scores = backend.upload(Float32Array.of(1, 3, 2));
  const compact = () => backend.run(compactKv, { k: keys(backend, 3), v: keys(backend, 3), keep: rows }, {});
  const failing: typeof topKRows = {
    ...topKRows,
    reference() {
      throw new Error('mine');
    },
  };
  for (const known of [compact, () => backend.run(topKRows, { scores, rows }, { k: 2 })]) {
    known();
    compact();
    expect(() => backend.run(failing, { scores, rows }, { k: 2 })).toThrow('mine');
    expect(compact).toThrow(expect.objectContaining({ argument: 'keep', got: 'a list computed on the device, of unknown contents' }));
    backend.run(topKRows, { scores, rows }, { k: 2 });
  }
});

/** Rows move alone, or as a run from 512 bytes on. */
test.each([1, 3, 4, 15, 16, 17, 31, 32, 64, 127, 128, 129])('rows of %i elements are copied as listed', async (width) => {
  await using backend = await createWasmBackend();
  const rows = 40;
  const data = Float32Array.from({ length: rows * width }, (_, i) => i);
  const span = Math.max(1, Math.floor(128 / width)); // the shortest run that moves as one
  const run = (start: number, length: number) => Array.from({ length }, (_, i) => start + i).filter((row) => row < rows);
  const looksLikeRun = [7, ...Array.from({ length: Math.max(0, span - 1) }, () => 0), 7 + span]; // by both its ends only
  looksLikeRun[span - 1] = 6 + span;
  const lists = [[], [0], [39], run(0, rows), run(3, span - 1), run(3, span), run(3, span + 1), [0, 2, 5, ...run(7, span + 2), 39]];
  const copied = (list: readonly number[]) => list.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
  for (const list of [...lists.map((each) => [...new Set(each)].sort((a, b) => a - b)), looksLikeRun.filter((row) => row < rows)]) {
    const table = backend.upload(data, [rows, width]);
    const ids = backend.upload(Uint32Array.from(list));
    const y = backend.empty({ dtype: 'f32', shape: [list.length, width] });
    backend.run(embedding, { table, ids, y }, {});
    expect([...(await backend.read(y))], `${list}`).toEqual(copied(list));
    if (list.some((row, i) => i > 0 && row <= list[i - 1]!)) continue;
    const [k, v] = [backend.upload(data, [1, rows, width]), backend.upload(data, [1, rows, width])];
    backend.run(compactKv, { k, v, keep: ids }, {});
    for (const moved of [k, v]) expect([...(await backend.read(moved)).subarray(0, list.length * width)], `${list}`).toEqual(copied(list));
  }
});
