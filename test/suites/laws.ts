/**
 * Laws that hold whatever the numbers are, on every backend. Their titles say how exactly: to the bit where one backend does
 * the same arithmetic twice, within the tolerance where sums may be ordered differently.
 */
import type { Backend } from '../../src/backend/backend.ts';
import type { Op } from '../../src/backend/op.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { appendKv, attention, compactKv, embedding, gatheredFfn, linear } from '../../src/ops/index.ts';
import { close, deepEqual, identical, type BackendCase, sameClasses, type Suite } from '../harness.ts';
import { apply, f32, matrix, out, pair, u32, type Values } from '../operands.ts';
import { Random, rowLists } from '../random.ts';
import { POISONED } from '../table/poisoned.ts';
import { OP_ROWS } from '../table/rows.ts';
import { tolerance } from '../tolerance.ts';

export function lawsSuite(t: Suite): void {
  for (const backendCase of t.platform.backends) {
    let opened: Promise<Backend> | undefined;
    const open = () => (opened ??= backendCase.create());
    const law = (name: string, run: (backend: Backend) => Promise<void>) =>
      t.test(`${name} [${backendCase.name}]`, async () => run(await open()));
    rowListLaws(law);
    cacheLaws(law);
    poisonLaws(law, backendCase);
    memoryLaws(t, backendCase, law);
    law('the backend closes', async (backend) => backend[Symbol.asyncDispose]());
  }
}

type Law = (name: string, run: (backend: Backend) => Promise<void>) => void;

const FFN = { activation: 'silu', norm: 'rms', eps: 1e-5 } as const;

/** An FFN over 19 rows of 20, with 36 inner channels. */
function ffnOperands(random: Random): Values & { x: { f32: Float32Array<ArrayBuffer>; shape: readonly number[] } } {
  const [T, D, M] = [19, 20, 36];
  return {
    x: { f32: random.normal(T * D), shape: [T, D] },
    normWeight: f32(random.normal(D, 0.2, 1), D),
    up: pair(random.normal(M * D, 0.2), random.normal(M * D, 0.2), M, D),
    down: matrix(random.normal(D * M, 0.2), D, M),
  };
}

async function ffn(backend: Backend, values: Values): Promise<Float32Array> {
  return (await apply(backend, gatheredFfn, values, FFN)).x as Float32Array;
}

/** Rows of a matrix, in the order of a list. */
function take(data: Float32Array, width: number, rows: ArrayLike<number>): Float32Array {
  const taken = new Float32Array(rows.length * width);
  for (let i = 0; i < rows.length; i++) taken.set(data.subarray(rows[i]! * width, (rows[i]! + 1) * width), i * width);
  return taken;
}

function rowListLaws(law: Law): void {
  law('gathered_ffn: listing all rows is the dense FFN, to the bit', async (backend) => {
    const values = ffnOperands(new Random(1));
    identical(await ffn(backend, { ...values, rows: u32(rowLists(19).all!) }), await ffn(backend, values));
  });
  law('gathered_ffn: a row gate of 1 is no gate, to the bit', async (backend) => {
    const values = ffnOperands(new Random(1));
    identical(await ffn(backend, { ...values, rowGate: f32(new Float32Array(19).fill(1), 19) }), await ffn(backend, values));
  });
  law('gathered_ffn: listing no row, and gates of 0, is the identity, to the bit', async (backend) => {
    const values = ffnOperands(new Random(2));
    identical(await ffn(backend, { ...values, rows: u32(new Uint32Array(0)) }), values.x.f32);
    identical(await ffn(backend, { ...values, rowGate: f32(new Float32Array(19), 19) }), values.x.f32);
  });
  law('gathered_ffn: a listed row is what the dense FFN makes of it, any other is untouched to the bit', async (backend) => {
    const values = ffnOperands(new Random(3));
    const dense = await ffn(backend, values);
    for (const [name, rows] of Object.entries(rowLists(19))) {
      const some = await ffn(backend, { ...values, rows: u32(rows) });
      const others = rowLists(19).all!.filter((row) => !rows.includes(row));
      identical(take(some, 20, others), take(values.x.f32, 20, others), `rows outside "${name}"`);
      const want = take(dense, 20, rows);
      close(take(some, 20, rows), want, tolerance(112, want), `rows of "${name}"`);
    }
  });
  law('gathered_ffn: two disjoint lists one after the other are their union, within the tolerance', async (backend) => {
    const values = ffnOperands(new Random(4));
    const { alternating, all } = rowLists(19) as Record<string, Uint32Array>;
    const first = await ffn(backend, { ...values, rows: u32(alternating!) });
    const both = await ffn(backend, { ...values, x: f32(first, 19, 20), rows: u32(all!.filter((row) => row % 2 === 0)) });
    const want = await ffn(backend, values);
    close(both, want, tolerance(112, want));
  });
  law('gathered_ffn: permuting rows and row list permutes the result, within the tolerance', async (backend) => {
    const random = new Random(5);
    const values = ffnOperands(random);
    const order = random.permutation(19); // row i of the permuted matrix is row order[i]
    const rows = rowLists(19)['one run']!;
    const permutedRows = Uint32Array.from(rows, (row) => order.indexOf(row)).sort();
    const plain = take(await ffn(backend, { ...values, rows: u32(rows) }), 20, order);
    const permuted = await ffn(backend, { ...values, x: f32(take(values.x.f32, 20, order), 19, 20), rows: u32(permutedRows) });
    close(permuted, plain, tolerance(112, plain));
  });
  law('linear: rows and outRows listing all rows are no lists, to the bit', async (backend) => {
    const random = new Random(6);
    const values: Values = { x: f32(random.normal(19 * 12), 19, 12), weight: matrix(random.normal(7 * 12), 7, 12), y: out(19, 7) };
    const all = u32(rowLists(19).all!);
    const dense = await apply(backend, linear, values, {});
    identical((await apply(backend, linear, { ...values, rows: all }, {})).y!, dense.y!, 'y with rows');
    identical((await apply(backend, linear, { ...values, rows: all, outRows: all }, {})).y!, dense.y!, 'y with both');
  });
  law('linear: gathering rows and scattering them back through the identity restores them, to the bit', async (backend) => {
    const random = new Random(7);
    const [T, D] = [19, 9];
    const x = random.normal(T * D);
    const unit = matrix(
      Float32Array.from({ length: D * D }, (_, i) => (i % (D + 1) === 0 ? 1 : 0)),
      D,
      D,
    );
    for (const [name, list] of Object.entries(rowLists(T))) {
      const rows = u32(list);
      const gathered = await apply(backend, linear, { x: f32(x, T, D), weight: unit, rows, y: out(list.length, D) }, {});
      identical(gathered.y!, take(x, D, list), `rows gathered by "${name}"`);
      const target = random.normal(T * D);
      const scattered = await apply(
        backend,
        linear,
        { x: f32(gathered.y as Float32Array, list.length, D), weight: unit, outRows: rows, y: f32(target, T, D) },
        {},
      );
      const want = target.slice();
      for (const row of list) want.set(x.subarray(row * D, (row + 1) * D), row * D);
      identical(scattered.y!, want, `rows scattered by "${name}"`);
    }
  });
  law('embedding: gathering by a permutation and by its inverse restores the rows, to the bit', async (backend) => {
    const random = new Random(8);
    const x = random.normal(35 * 5);
    const order = random.permutation(35);
    const inverse = Uint32Array.from(order, (_, i) => order.indexOf(i));
    const once = await apply(backend, embedding, { table: f32(x, 35, 5), ids: u32(order), y: out(35, 5) }, {});
    const twice = await apply(backend, embedding, { table: f32(once.y as Float32Array, 35, 5), ids: u32(inverse), y: out(35, 5) }, {});
    identical(twice.y!, x);
  });
}

interface Cache {
  k: Float32Array;
  v: Float32Array;
  positions: Uint32Array;
}

const [HEADS, KV_HEADS, WIDTH] = [4, 2, 12];

function randomCache(random: Random, rows: number): Cache {
  const size = rows * KV_HEADS * WIDTH;
  return { k: random.normal(size), v: random.normal(size), positions: Uint32Array.from({ length: rows }, (_, i) => i) };
}

async function compact(backend: Backend, { k, v, positions }: Cache, keep: Uint32Array): Promise<Cache> {
  const [S, W] = [positions.length, KV_HEADS * WIDTH];
  const kept = await apply(backend, compactKv, { k: f32(k, 1, S, W), v: f32(v, 1, S, W), keep: u32(keep) }, {});
  const part = (array: unknown) => (array as Float32Array).slice(0, keep.length * W);
  return { k: part(kept.k), v: part(kept.v), positions: keep.map((row) => positions[row]!) };
}

async function attend(
  backend: Backend,
  q: Float32Array,
  qPositions: Uint32Array,
  { k, v, positions }: Cache,
  hiddenKeys: readonly [number, number, number][] = [],
): Promise<Float32Array> {
  const [T, S] = [qPositions.length, positions.length];
  const values: Values = {
    q: f32(q, T, HEADS, WIDTH),
    k: f32(k, S, KV_HEADS, WIDTH),
    v: f32(v, S, KV_HEADS, WIDTH),
    qPositions: u32(qPositions),
    kPositions: u32(positions),
    o: out(T, HEADS, WIDTH),
  };
  return (await apply(backend, attention, values, { scale: 0.3, causal: true, hiddenKeys })).o as Float32Array;
}

function cacheLaws(law: Law): void {
  law('compact_kv: keeping all rows is the identity, to the bit', async (backend) => {
    const cache = randomCache(new Random(10), 35);
    const kept = await compact(backend, cache, rowLists(35).all!);
    identical(kept.k, cache.k, 'k');
    identical(kept.v, cache.v, 'v');
  });
  law('compact_kv: compacting twice is compacting by the composed list, to the bit', async (backend) => {
    const cache = randomCache(new Random(11), 67);
    for (const [name, first] of Object.entries(rowLists(67))) {
      for (const [next, second] of Object.entries(rowLists(first.length))) {
        const twice = await compact(backend, await compact(backend, cache, first), second);
        const once = await compact(
          backend,
          cache,
          second.map((row) => first[row]!),
        );
        identical(twice.k, once.k, `k after ${name}, ${next}`);
        identical(twice.v, once.v, `v after ${name}, ${next}`);
        deepEqual(twice.positions, once.positions, 'positions');
      }
    }
  });
  law(
    'attention over the compacted cache is attention over the full one with the removed keys hidden, within the tolerance',
    async (backend) => {
      const random = new Random(12);
      const cache = randomCache(random, 67);
      const qPositions = Uint32Array.of(67, 68, 69, 75, 76);
      const q = random.normal(qPositions.length * HEADS * WIDTH);
      for (const [start, end] of [
        [0, 67],
        [5, 5],
        [0, 1],
        [66, 67],
        [16, 48],
        [7, 64],
      ] as const) {
        const keep = rowLists(67).all!.filter((row) => row < start || row >= end);
        const want = await attend(backend, q, qPositions, cache, [[start, end, 0]]);
        const got = await attend(backend, q, qPositions, await compact(backend, cache, keep));
        close(got, want, tolerance(WIDTH + 67, want), `o without rows ${start} to ${end}`);
      }
    },
  );
  law('append_kv: two chunks are one, to the bit', async (backend) => {
    const random = new Random(13);
    const [n, W, C] = [19, KV_HEADS * WIDTH, 32];
    const { k, v } = randomCache(random, n);
    const empty = { k: f32(new Float32Array(C * W), 1, C, W), v: f32(new Float32Array(C * W), 1, C, W) };
    const rows = (from: number, to: number) => ({
      kNew: f32(k.slice(from * W, to * W), 1, to - from, W),
      vNew: f32(v.slice(from * W, to * W), 1, to - from, W),
    });
    const once = await apply(backend, appendKv, { ...rows(0, n), ...empty }, { at: 5 });
    const first = await apply(backend, appendKv, { ...rows(0, 7), ...empty }, { at: 5 });
    const both = { k: f32(first.k as Float32Array, 1, C, W), v: f32(first.v as Float32Array, 1, C, W) };
    const twice = await apply(backend, appendKv, { ...rows(7, n), ...both }, { at: 12 });
    identical(twice.k!, once.k!, 'k');
    identical(twice.v!, once.v!, 'v');
  });
  law('attention: a prompt in two chunks is the prompt at once, within the tolerance', async (backend) => {
    const random = new Random(14);
    const n = 35;
    const cache = randomCache(random, n);
    const q = random.normal(n * HEADS * WIDTH);
    const whole = await attend(backend, q, cache.positions, cache);
    const row = HEADS * WIDTH;
    const keys = KV_HEADS * WIDTH;
    for (const cut of [1, 16, 17, 34]) {
      const before = { k: cache.k.slice(0, cut * keys), v: cache.v.slice(0, cut * keys), positions: cache.positions.slice(0, cut) };
      const first = await attend(backend, q.slice(0, cut * row), before.positions, before);
      const second = await attend(backend, q.slice(cut * row), cache.positions.slice(cut), cache);
      close(Float32Array.of(...first, ...second), whole, tolerance(WIDTH + n, whole), `o cut at ${cut}`);
    }
  });
}

/** NaN and Infinity stay where they are, and where they spread to they spread as in the reference. */
function poisonLaws(law: Law, { kind }: BackendCase): void {
  law('gathered_ffn: NaN in rows that are not listed reaches no other row, to the bit', async (backend) => {
    const values = ffnOperands(new Random(20));
    const rows = rowLists(19).alternating!;
    const clean = await ffn(backend, { ...values, rows: u32(rows) });
    const x = values.x.f32.map((value, i) => (Math.floor(i / 20) % 2 === 0 ? Number.NaN : value));
    const spoiled = await ffn(backend, { ...values, x: f32(x, 19, 20), rows: u32(rows) });
    identical(take(spoiled, 20, rows), take(clean, 20, rows), 'listed rows');
    identical(
      take(
        spoiled,
        20,
        rowLists(10).all!.map((i) => 2 * i),
      ),
      new Float32Array(200).fill(Number.NaN),
      'the other rows',
    );
  });
  law('attention: NaN in hidden keys reaches no query, to the bit', async (backend) => {
    const random = new Random(21);
    const cache = randomCache(random, 19);
    const q = random.normal(3 * HEADS * WIDTH);
    const qPositions = Uint32Array.of(19, 20, 21);
    const hidden: [number, number, number][] = [[4, 9, 0]];
    const width = KV_HEADS * WIDTH;
    const spoil = (array: Float32Array) => array.map((value, i) => (i >= 4 * width && i < 9 * width ? Number.NaN : value));
    const clean = await attend(backend, q, qPositions, cache, hidden);
    identical(await attend(backend, q, qPositions, { ...cache, k: spoil(cache.k), v: spoil(cache.v) }, hidden), clean);
  });
  if (kind === 'reference') return;
  for (const { op, title, values, attrs } of POISONED) {
    law(`${op.name}: ${title} gives NaN, Infinity and numbers where the reference does`, async (backend) => {
      await using reference = createReferenceBackend();
      const want = await apply(reference, op, values, attrs);
      const got = await apply(backend, op, values, attrs);
      for (const [name, array] of Object.entries(want)) sameClasses(got[name]!, array, name);
    });
  }
}

function memoryLaws(t: Suite, { name, lend, create }: BackendCase, law: Law): void {
  law('memory() returns to its start, and repeating the work holds no more', async (backend) => {
    const start = backend.memory();
    const reserved: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (const { op, cases } of OP_ROWS) await firstCases(backend, op, cases(new Random(round)), 6);
      const { tensors, weights } = backend.memory();
      deepEqual([tensors, weights], [start.tensors, start.weights], `bytes of tensors and weights after round ${round}`);
      reserved.push(backend.memory().reserved);
    }
    deepEqual(reserved.slice(2), [reserved[1], reserved[1]], `bytes held after rounds 2 and 3 (all rounds: ${reserved})`);
  });
  law('memory that was freed is used again, for tensors and for weights', async (backend) => {
    const data = new Float32Array(2 ** 18);
    const useAndFree = async () => {
      backend.upload(data).dispose();
      (await backend.pack({ data, shape: [512, 512] })).dispose();
      await backend.flush();
      return backend.memory().reserved;
    };
    for (let round = 0; round < 3; round++) await useAndFree();
    const reserved = await useAndFree();
    for (let round = 0; round < 12; round++) deepEqual(await useAndFree(), reserved, `bytes held after round ${round + 4}`);
  });
  law('memory() counts tensors and weights to the byte, views and borrowed memory as nothing', async (backend) => {
    const start = backend.memory();
    const tensor = backend.upload(new Float32Array(10), [2, 5]);
    const list = backend.empty({ dtype: 'u32', shape: [3] });
    const view = tensor.view([4]);
    const weight = await backend.pack({ data: new Float32Array(6), shape: [2, 3] });
    const used = backend.memory();
    deepEqual([used.tensors - start.tensors, used.weights - start.weights], [52, weight.bytes], 'bytes of tensors and weights');
    view.dispose();
    deepEqual(backend.memory().tensors, used.tensors, 'bytes of tensors after the view is gone');
    for (const held of [tensor, list, weight, tensor]) held.dispose();
    deepEqual([backend.memory().tensors, backend.memory().weights], [start.tensors, start.weights], 'bytes in the end');
  });
  law('order of calls is order of execution: a read sees every run before it and none after', async (backend) => {
    const unit = await backend.pack({ data: Float32Array.of(1), shape: [1, 1] });
    using x = backend.upload(Float32Array.of(1), [1, 1]);
    using sum = backend.upload(Float32Array.of(0), [1, 1]);
    const reads: Promise<Float32Array>[] = [];
    for (let i = 0; i < 40; i++) {
      backend.run(linear, { x, weight: unit, y: sum }, { accumulate: true });
      reads.push(backend.read(sum));
    }
    const values = (await Promise.all(reads)).map(([value]) => value);
    deepEqual(
      values,
      Array.from({ length: 40 }, (_, i) => i + 1),
      'what the reads saw',
    );
    unit.dispose();
  });
  law('trace reports every op that runs, until disposed', async (backend) => {
    const seen: string[] = [];
    const values: Values = { table: f32(new Float32Array(4), 2, 2), ids: u32(Uint32Array.of(1)), y: out(1, 2) };
    const trace = backend.trace(({ op, flops, bytes }) => {
      if (bytes > 0 || flops > 0) seen.push(op);
    });
    await apply(backend, embedding, values, {});
    await apply(backend, embedding, values, {});
    trace[Symbol.dispose]();
    await apply(backend, embedding, values, {});
    deepEqual(seen, ['embedding', 'embedding'], 'ops traced');
  });
  if (!lend) {
    t.skip(`borrowed memory survives dispose [${name}]`, 'this runtime lends none');
    return;
  }
  t.test(`borrowed memory is written in place, survives dispose and is counted as nothing [${name}]`, async () => {
    const lent = await lend(Float32Array.of(3, 4, 5, 6));
    const { tensors } = lent.backend.memory();
    const tensor = lent.backend.borrow(lent.handle, { dtype: 'f32', shape: [1, 2, 2] });
    deepEqual(lent.backend.memory().tensors, tensors, 'bytes of tensors');
    const row = lent.backend.upload(Float32Array.of(7, 8), [1, 1, 2]);
    using v = lent.backend.upload(new Float32Array(4), [1, 2, 2]);
    lent.backend.run(appendKv, { kNew: row, vNew: row, k: tensor, v }, { at: 1 });
    identical(await lent.backend.read(tensor), Float32Array.of(3, 4, 7, 8), 'the tensor');
    row.dispose();
    tensor.dispose();
    identical(await lent.read(), Float32Array.of(3, 4, 7, 8), 'the memory after the tensor is gone');
    await lent.backend[Symbol.asyncDispose]();
    identical(await lent.read(), Float32Array.of(3, 4, 7, 8), 'the memory after the backend is gone');
    lent.release();
  });
  t.test(`two backends side by side do not disturb each other [${name}]`, async () => {
    await using first = await create();
    await using second = await create();
    const values = ffnOperands(new Random(30));
    const want = await ffn(first, values);
    const [a, b] = await Promise.all([ffn(first, values), ffn(second, values)]);
    identical(a, want, 'result of the first');
    identical(b, want, 'result of the second');
  });
}

async function firstCases(backend: Backend, op: Op, cases: Iterable<{ values: Values; attrs: object }>, count: number): Promise<void> {
  for (const { values, attrs } of cases) {
    if (count-- === 0) return;
    await apply(backend, op, values, attrs);
  }
}
