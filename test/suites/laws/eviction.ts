/** Laws about key/value caches: append, compact, attend. */
import { appendKv } from '../../../src/ops/index.ts';
import { close, deepEqual, identical } from '../../harness.ts';
import { apply, f32 } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { tolerance } from '../../tolerance.ts';
import { attend, compact, HEADS, KV_HEADS, randomCache, WIDTH } from './cache.ts';
import type { Law } from './law.ts';

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
