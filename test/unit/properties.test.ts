/** Properties of row lists and of the allocator, for sizes and lists that nobody thought of. The seed is fixed: same runs every time. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { LinearMemory, RESERVED } from '../../src/backend/wasm/memory.ts';
import { compactKv, embedding, gatheredFfn, linear } from '../../src/ops/index.ts';
import { close, identical } from '../harness.ts';
import { apply, f32, matrix, out, pair, u32 } from '../operands.ts';
import { Random } from '../random.ts';
import { take } from '../suites/laws/ffn.ts';
import { tolerance } from '../tolerance.ts';

fc.configureGlobal({ seed: 0x5eed, numRuns: 60 });

const sizes = fc.integer({ min: 1, max: 40 });
/** A number of rows, now and then more than the kernels take at once, and some of them in ascending order. */
const listed = fc
  .oneof({ weight: 4, arbitrary: fc.nat(80) }, fc.nat(700))
  .chain((T) =>
    fc.record({ T: fc.constant(T), rows: fc.subarray(Array.from({ length: T }, (_, i) => i)).map((rows) => Uint32Array.from(rows)) }),
  );

describe.each([
  ['reference', () => createReferenceBackend()],
  ['wasm', () => createWasmBackend()],
] as const)('row lists on %s', (_name, makeBackend) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await makeBackend();
  });
  afterAll(async () => {
    expect(backend.memory()).toMatchObject({ tensors: 0, weights: 0 });
    await backend[Symbol.asyncDispose]();
  });

  test('rows that are gathered and scattered back are where they were, and no other row is written', () =>
    fc.assert(
      fc.asyncProperty(listed, sizes, async ({ T, rows }, D) => {
        const random = new Random(T);
        const [x, target] = [random.normal(T * D), random.normal(T * D)];
        const gathered = await apply(backend, embedding, { table: f32(x, T, D), ids: u32(rows), y: out(rows.length, D) }, {});
        identical(gathered.y!, take(x, D, rows), 'gathered');
        const unit = new Float32Array(D * D).map((_, i) => (i % (D + 1) === 0 ? 1 : 0));
        const operands = { weight: matrix(unit, D, D), outRows: u32(rows), y: f32(target, T, D) };
        const scattered = await apply(backend, linear, { x: f32(gathered.y as Float32Array, rows.length, D), ...operands }, {});
        const want = target.slice();
        for (const row of rows) want.set(x.subarray(row * D, (row + 1) * D), row * D);
        identical(scattered.y!, want, 'scattered');
      }),
    ));

  test('gathered_ffn: a listed row gets what the dense FFN makes of it, another one nothing', () =>
    fc.assert(
      fc.asyncProperty(listed, sizes, sizes, async ({ T, rows }, D, M) => {
        const random = new Random(M);
        const x = random.normal(T * D);
        const weights = { up: pair(random.normal(M * D), random.normal(M * D), M, D), down: matrix(random.normal(D * M), D, M) };
        const ffn = async (lists: object) => {
          const values = { x: f32(x, T, D), ...weights, ...lists };
          return (await apply(backend, gatheredFfn, values, { activation: 'silu' })).x as Float32Array;
        };
        const [dense, some] = [await ffn({}), await ffn({ rows: u32(rows) })];
        const others = Array.from({ length: T }, (_, i) => i).filter((row) => !rows.includes(row));
        identical(take(some, D, others), take(x, D, others), 'other rows');
        const want = take(dense, D, rows);
        close(take(some, D, rows), want, tolerance(2 * D + M, want), 'listed rows');
      }),
    ));

  test('compact_kv: to elsewhere and in place alike; compacting twice is compacting by the composed list', () => {
    const twoLists = listed.chain(({ T, rows }) =>
      fc.record({
        T: fc.constant(T),
        first: fc.constant(rows),
        second: fc.subarray([...rows.keys()]).map((kept) => Uint32Array.from(kept)),
      }),
    );
    const layouts = fc.record({ A: fc.integer({ min: 1, max: 3 }), W: sizes, spare: fc.integer({ min: 0, max: 5 }) });
    return fc.assert(
      fc.asyncProperty(twoLists, layouts, async ({ T, first, second }, { A, W, spare }) => {
        const random = new Random(T);
        const [k, v] = [random.normal(A * T * W), random.normal(A * T * W)];
        const keep = async (list: Uint32Array, k: Float32Array, v: Float32Array, S: number, elsewhere: boolean) => {
          const U = list.length + spare;
          const room = elsewhere ? { kOut: out(A, U, W), vOut: out(A, U, W) } : {};
          const results = await apply(backend, compactKv, { k: f32(k, A, S, W), v: f32(v, A, S, W), keep: u32(list), ...room }, {});
          const rows = elsewhere ? U : S;
          const kept = Array.from({ length: A * list.length }, (_, i) => Math.floor(i / list.length) * rows + (i % list.length));
          return [results.kOut ?? results.k!, results.vOut ?? results.v!].map((all) => take(all as Float32Array, W, kept)) as [
            Float32Array,
            Float32Array,
          ];
        };
        const inPlace = await keep(first, k, v, T, false);
        const elsewhere = await keep(first, k, v, T, true);
        const twice = await keep(second, ...elsewhere, first.length, false);
        const once = await keep(
          second.map((row) => first[row]!),
          k,
          v,
          T,
          true,
        );
        for (const i of [0, 1] as const) {
          identical(elsewhere[i], inPlace[i], 'elsewhere');
          identical(twice[i], once[i], 'twice');
        }
      }),
    );
  });
});

test('LinearMemory: blocks are aligned and never overlap, contents survive growth, and all of it joins again', () => {
  const allocation = fc.record({ words: fc.oneof({ weight: 20, arbitrary: fc.nat(1000) }, fc.nat(100_000)) });
  const release = fc.record({ free: fc.nat() });
  const steps = fc.array(fc.oneof(allocation, release), { maxLength: 200, size: 'max' });
  fc.assert(
    fc.property(steps, (all) => {
      const memory = new LinearMemory();
      const live: { pointer: number; words: number; mark: number }[] = [];
      const free = (at: number) => {
        const [{ pointer, words, mark }] = live.splice(at, 1) as [(typeof live)[number]];
        expect(memory.u32(pointer, words).every((word) => word === mark)).toBe(true);
        memory.free(pointer);
      };
      all.forEach((step, mark) => {
        if ('words' in step) {
          const pointer = memory.allocate(4 * step.words);
          expect(pointer > 0 && pointer % 64 === 0).toBe(true);
          memory.u32(pointer, step.words).fill(mark);
          live.push({ pointer, words: step.words, mark });
        } else if (live.length) {
          free(step.free % live.length);
        }
        expect(memory.used).toBe(live.reduce((sum, { words }) => sum + Math.max(64, Math.ceil(words / 16) * 64), 0));
      });
      while (live.length) free(0);
      expect(memory.used).toBe(0);
      expect(memory.allocate(memory.reserved - RESERVED)).toBe(RESERVED);
    }),
  );
});
