/** Threads as seen from Node: when workers end, that they keep no process alive, and what happens when one is lost. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { loadBinary } from '../../src/backend/wasm/binary.ts';
import type { SharedCalls } from '../../src/backend/wasm/binding.ts';
import { createWasmBackend, type WasmBackendOptions } from '../../src/backend/wasm/driver.ts';
import { LinearMemory } from '../../src/backend/wasm/memory.ts';
import { startPool } from '../../src/backend/wasm/pool.ts';
import { callStarts } from '../../src/ops/product/wasm.ts';
import { linear } from '../../src/ops/linear.ts';
import { Random } from '../random.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const dyingWorker = new URL('../fixtures/dying-worker.ts', import.meta.url);
const lost = expect.objectContaining({ code: 'backend-failed' });

/** Of no columns: each call writes one number, the scale. */
type StoreCalls = SharedCalls<'pack_lane_q8'>;
/** The kernel has none; what stands for its address stays as it is. */
const noScratch = { pointer: 0, stride: 0, argument: 0 };

const workers: Worker[] = [];
const remember = (worker: Worker) => void workers.push(worker);
process.on('worker', remember);
afterEach(() => void workers.splice(0));

function ended(worker: Worker): Promise<unknown> {
  return worker.threadId === -1 ? Promise.resolve() : new Promise((resolve) => void worker.once('exit', resolve));
}

/** A backend, and a product on it that threads share. */
async function withProduct(options: WasmBackendOptions) {
  const random = new Random(1);
  const backend = await createWasmBackend({ shareFrom: 0, ...options });
  const x = backend.upload(random.normal(8 * 16), [8, 16]);
  const weight = await backend.pack({ data: random.normal(300 * 16), shape: [300, 16] });
  const y = backend.empty({ dtype: 'f32', shape: [8, 300] });
  return { backend, x, run: () => backend.run(linear, { x, weight, y }, {}) };
}

describe('threads of a wasm backend', () => {
  test('one thread starts no worker and has memory of its own', async () => {
    const { backend, run } = await withProduct({ threads: 1 });
    run();
    expect(workers).toHaveLength(0);
    await backend[Symbol.asyncDispose]();
  });

  test('a global Worker that somebody made of threads of Node is none of ours', async () => {
    vi.stubGlobal('Worker', class {}); // as onnxruntime-web does
    try {
      await using backend = await createWasmBackend({ threads: 2 });
      expect(backend.description).toMatch(/, 2 threads$/);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test('dispose ends the workers', async () => {
    const { backend, run } = await withProduct({ threads: 3 });
    run();
    expect(workers).toHaveLength(2);
    const exits = workers.map(ended);
    await backend[Symbol.asyncDispose]();
    await Promise.all(exits);
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
  });

  test('a backend that is left alone keeps no process alive', () => {
    const script = `const { createWasmBackend } = await import('./src/backend/wasm/driver.ts');
      const backend = await createWasmBackend({ threads: 2 });
      console.log([...backend.features].join());`;
    const args = ['--import', './test/assets-hook.mjs', '--input-type=module', '-e', script];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', timeout: 600_000 });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: expect.stringContaining('threads'), stderr: expect.any(String) });
  });

  test('after a worker has ended every call is refused, until it is disposed', async () => {
    const { backend, x, run } = await withProduct({ threads: 2 });
    run();
    await workers[0]!.terminate();
    expect(run).toThrow(lost);
    expect(run).toThrow(/Make a new backend/);
    expect((await backend.read(x)).length).toBe(128);
    await backend[Symbol.asyncDispose]();
  });

  test('a worker that dies in the middle of a call is an error, not a hang', async () => {
    const memory = new LinearMemory(undefined, true);
    const binary = await loadBinary(memory);
    const pool = await startPool({ linear: memory, binary, threads: 2, workerUrl: dyingWorker, shareFrom: 0, patience: 1 });
    const pointer = memory.allocate(4096);
    const stores: StoreCalls = { kernel: 'pack_lane_q8', calls: 1000, work: 1, args: () => [pointer, 0, 0, 0, 1], own: noScratch };
    const runUntilLost = () => {
      for (let round = 0; round < 100_000; round++) pool.run('store', stores);
    };
    expect(runUntilLost).toThrow(lost);
    expect(() => pool.run('store', stores)).toThrow(lost);
    await pool.dispose();
  });

  test('a trap in a thread is an error, and the next call works', async () => {
    const { backend, run } = await withProduct({ threads: 2 });
    const memory = new LinearMemory(undefined, true);
    const binary = await loadBinary(memory);
    const pool = await startPool({ linear: memory, binary, threads: 2, shareFrom: 0 });
    const pointer = memory.allocate(4096);
    const stores = (bad: number): StoreCalls => ({
      kernel: 'pack_lane_q8',
      calls: 50,
      work: 1,
      args: (call) => [call === bad ? 2 ** 32 - 64 : pointer, 0, 0, 0, 1],
      own: noScratch,
    });
    for (const bad of [0, 7, 49]) {
      expect(() => pool.run('store', stores(bad))).toThrow(lost);
      expect(() => pool.run('store', stores(-1))).not.toThrow();
    }
    run();
    await pool.dispose();
    await backend[Symbol.asyncDispose]();
  });

  test('more calls than the table holds run in batches, each once', async () => {
    const memory = new LinearMemory(undefined, true);
    const binary = await loadBinary(memory);
    const pool = await startPool({ linear: memory, binary, threads: 2, shareFrom: 0 });
    const calls = 5000;
    const pointer = memory.allocate(calls * 4);
    memory.f32(pointer, calls).fill(-1);
    const args = (call: number): ReturnType<StoreCalls['args']> => [pointer + call * 4, 0, 0, 0, call];
    pool.run('store', { kernel: 'pack_lane_q8', calls, work: 1, args, own: noScratch });
    expect([...memory.f32(pointer, calls)]).toEqual(Array.from({ length: calls }, (_, i) => i));
    await pool.dispose();
  });

  test('calls begin at multiples of the widest tile, leave no lane out, and are the usual ones on one thread', () => {
    for (const threads of [1, 2, 7]) {
      for (const rows of [0, 1, 64, 264]) {
        for (const lanes of [0, 8, 576, 3072, 22016]) {
          const starts = callStarts({ threads, shareFrom: 100_000 }, rows, 576, lanes);
          const sizes = starts.slice(1).map((start, call) => start - starts[call]!);
          expect(starts[0]).toBe(0);
          expect(starts.at(-1)).toBe(lanes);
          expect(starts.slice(0, -1).every((start) => start % 32 === 0)).toBe(true);
          expect(sizes.every((size) => size > 0 && size <= 256)).toBe(true);
          if (threads === 1) expect(sizes.slice(0, -1).every((size) => size === 256)).toBe(true);
        }
      }
    }
  });
});
