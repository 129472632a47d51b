/** Laws about key/value caches: append, compact, attend. */
import { fromF16Bits, toF16Bits } from '../../../src/backend/f16.ts';
import { appendKv, attention, compactKv } from '../../../src/ops/index.ts';
import { close, deepEqual, identical, sameClasses } from '../../harness.ts';
import { apply, f32, out, storedAsF16, u32 } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { tolerance } from '../../tolerance.ts';
import { attend, compact, HEADS, KV_HEADS, randomCache, WIDTH } from './cache.ts';
import type { Law } from './law.ts';

function takeRows(array: Uint16Array, W: number, rows: Uint32Array): Uint16Array {
  return Uint16Array.from({ length: rows.length * W }, (_, i) => array[rows[Math.floor(i / W)]! * W + (i % W)]!);
}

export function cacheLaws(law: Law): void {
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
  law('f16: what append_kv rounds comes back by attention as it was, every pattern; appending it again changes no bit', async (backend) => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const [H, dh] = [512, 128];
    const isNan = (bits: number) => (bits & 0x7fff) > 0x7c00;
    const floats = f32(Float32Array.from(patterns, fromF16Bits), 1, 1, H * dh);
    const empty = { f16: new Uint16Array(H * dh), shape: [1, 1, H * dh] };
    const stored = await apply(backend, appendKv, { kNew: floats, vNew: floats, k: empty, v: empty }, { at: 0 });
    identical(
      stored.v!,
      patterns.map((bits) => (isNan(bits) ? 0x7e00 : bits)),
      'v',
    );
    for (const T of [1, 5]) {
      const one = (rows: number) => f32(new Float32Array(rows * H * dh), rows, H, dh);
      const v = { f16: patterns, shape: [1, H, dh] };
      const positions = { qPositions: u32(Uint32Array.from({ length: T }, (_, t) => t)), kPositions: u32(Uint32Array.of(0)) };
      const k = { f16: new Uint16Array(H * dh), shape: [1, H, dh] };
      const { o } = await apply(backend, attention, { q: one(T), k, v, ...positions, o: out(T, H, dh) }, { scale: 1, causal: true });
      const last = (o as Float32Array).subarray((T - 1) * H * dh);
      sameClasses(last, floats.f32, `o of ${T} rows`);
      const finite = (array: Float32Array) => array.filter((_, bits) => (bits & 0x7fff) < 0x7c00);
      close(finite(last), finite(floats.f32), { rtol: 2 ** -22, atol: 0 }, `o of ${T} rows`);
    }
  });
  law(
    'f16: rows are compacted to the bit, and attention over them is that over their values in f32, within the tolerance',
    async (backend) => {
      const random = new Random(15);
      const [S, W] = [67, KV_HEADS * WIDTH];
      const halves = Uint16Array.from({ length: S * W }, () => random.below(65536));
      for (const [name, keep] of Object.entries(rowLists(S))) {
        const rows = { f16: halves, shape: [1, S, W] };
        const { k } = await apply(backend, compactKv, { k: rows, v: rows, keep: u32(keep) }, {});
        identical(k!.subarray(0, keep.length * W), takeRows(halves, W, keep), `k of ${name}`);
      }
      const cache = randomCache(random, S);
      const rounded = (array: Float32Array) => array.map((value) => fromF16Bits(toF16Bits(value)));
      for (const T of [1, 5, 19]) {
        const q = random.normal(T * HEADS * WIDTH);
        const qPositions = Uint32Array.from({ length: T }, (_, t) => 60 + t);
        const want = await attend(backend, q, qPositions, { ...cache, k: rounded(cache.k), v: rounded(cache.v) });
        close(await attend(backend, q, qPositions, cache, [], storedAsF16), want, tolerance(WIDTH + S, want), `o of ${T} rows`);
      }
    },
  );
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
