/** The pairs that attention is charged for, against counting them one by one. */
import { expect, test } from 'vitest';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { type HiddenKeys, isVisible, visiblePairs } from '../../src/ops/attention.ts';
import { Random } from '../random.ts';

const backend = createReferenceBackend();

function ascending(random: Random, count: number): Uint32Array {
  let position = random.below(4) - 1;
  return Uint32Array.from({ length: count }, () => (position += 1 + random.below(3)));
}

test('random lists, with blocks of hidden keys that overlap, are empty or hide all', () => {
  const random = new Random(3);
  let hiding = 0;
  for (let round = 0; round < 500; round++) {
    const [queries, keys] = [ascending(random, random.below(12)), ascending(random, random.below(20))];
    const hiddenKeys = Array.from({ length: random.below(4) }, (): HiddenKeys => {
      const start = random.below(30);
      return [start, start + random.below(20), random.below(30)];
    });
    const causal = random.below(2) === 0;
    let pairs = 0;
    for (const query of queries) for (const key of keys) if (isVisible(query, key, causal, hiddenKeys)) pairs++;
    if (hiddenKeys.length > 1 && pairs > 0 && pairs < queries.length * keys.length) hiding++;
    const io = { qPositions: backend.upload(queries), kPositions: backend.upload(keys) };
    expect(visiblePairs(io, { causal, hiddenKeys }), JSON.stringify({ queries, keys, causal, hiddenKeys })).toBe(pairs);
  }
  expect(hiding).toBeGreaterThan(50);
});

test('views count for themselves', () => {
  const positions = backend.upload(Uint32Array.of(0, 1, 2, 3, 4));
  const io = { qPositions: positions.view([2]), kPositions: positions.view([4]) };
  expect(visiblePairs(io, { causal: true })).toBe(3);
});

test('2,048 rows cost no loop over their pairs', () => {
  const rows = Uint32Array.from({ length: 2048 }, (_, i) => i);
  const io = { qPositions: backend.upload(rows), kPositions: backend.upload(rows) };
  let looked = 0;
  const hiddenKeys = new Proxy([[10, 500, 600]] as HiddenKeys[], {
    get(target, name, receiver) {
      if (name === 'map' || name === 'filter') looked++;
      return Reflect.get(target, name, receiver);
    },
  });
  expect(visiblePairs(io, { causal: true, hiddenKeys })).toBe((2048 * 2049) / 2 - 490 * (2048 - 600));
  expect(looked).toBeLessThan(10);
});
