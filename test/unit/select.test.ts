/** What `onFallback` throws is the caller's own, and no reason against a backend. */
import { expect, test } from 'vitest';
import { selectBackend } from '../../src/backend/select.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';

const noAdapter = { requestAdapter: async () => null };

test.each([
  ['a backend that does not work', { prefer: ['webgpu', 'reference'], gpu: noAdapter }],
  ['a feature that is not to be had', { prefer: ['wasm', 'reference'], threads: 2, workerUrl: 'file:///nowhere.js' }],
] as const)('%s: the error of onFallback comes out as it is, and ends the search', async (_, options) => {
  const mine = new RangeError('mine');
  let calls = 0;
  const onFallback = () => {
    calls++;
    throw mine;
  };
  await expect(selectBackend({ ...options, onFallback })).rejects.toBe(mine);
  expect(calls).toBe(1);
});

test('createWasmBackend: likewise', async () => {
  const mine = new Error('mine');
  const onFallback = () => {
    throw mine;
  };
  await expect(createWasmBackend({ threads: 2, workerUrl: 'file:///nowhere.js', onFallback })).rejects.toBe(mine);
});
