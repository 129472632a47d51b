/** Laws about NaN and Infinity. */
import { createReferenceBackend } from '../../../src/backend/reference/driver.ts';
import { type BackendCase, identical, sameClasses } from '../../harness.ts';
import { apply, f32, u32 } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { POISONED } from '../../table/poisoned.ts';
import { attend, HEADS, KV_HEADS, randomCache, WIDTH } from './cache.ts';
import { ffn, ffnOperands, take } from './ffn.ts';
import type { Law } from './law.ts';

/** NaN and Infinity stay where they are, and where they spread to they spread as in the reference. */
export function poisonLaws(law: Law, { kind }: BackendCase): void {
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
    law(`${op.definition.name}: ${title} gives NaN, Infinity and numbers where the reference does`, async (backend) => {
      await using reference = createReferenceBackend();
      const want = await apply(reference, op, values, attrs);
      const got = await apply(backend, op, values, attrs);
      for (const [name, array] of Object.entries(want)) sameClasses(got[name]!, array, name);
    });
  }
}
