/** What an observer of ops may do: throw, without harm to what it observes. */
import { expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import { rmsNorm } from '../../src/ops/index.ts';

const calls: [string, (backend: Backend, y: Tensor) => Promise<unknown>][] = [
  ['read', (backend, y) => backend.read(y)],
  ['flush', (backend) => backend.flush()],
  ['pause', (backend) => backend.pause()],
];

test.each(calls)('a sink that throws fails no run, and is told no more; the next %s throws its error as it is, once', async (_, call) => {
  await using backend = createReferenceBackend();
  const weight = backend.upload(Float32Array.of(1, 1));
  const [x, y] = [backend.upload(Float32Array.of(3, 4), [1, 2]), backend.empty({ dtype: 'f32', shape: [1, 2] })];
  const mine = new RangeError('mine');
  const told = { failing: 0, other: 0 };
  using _failing = backend.trace(() => {
    told.failing++;
    throw mine;
  });
  using _other = backend.trace(() => void told.other++);
  backend.run(rmsNorm, { x, weight, y }, { eps: 0 });
  backend.run(rmsNorm, { x, weight, y }, { eps: 0 });
  expect(told).toEqual({ failing: 1, other: 2 });
  expect(await call(backend, y).catch((error: unknown) => error)).toBe(mine);
  await call(backend, y);
  expect((await backend.read(y))[0]).toBeCloseTo(3 / Math.sqrt(12.5));
});
