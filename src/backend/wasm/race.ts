/** Timing of tiles of the matrix product against each other: which is faster is a matter of the engine's register allocation. */
import { yieldToOthers } from '../yield.ts';
import { FORM, type WasmKernels } from './binding.ts';
import type { LinearMemory } from './memory.ts';

const [ROWS, K, N] = [12, 256, 32];
/** Long beside the 0.1 ms to which browsers round their clock. */
const SLICE_MS = 1;
const CALLS = 4;
const MOST_MS = 300;

/** A tile, as the product kernel is told to use it. */
export interface Runner {
  kernels: WasmKernels;
  form?: number;
  group: 4 | 6;
}

/**
 * Calls per millisecond of each runner, turn by turn. The best slice counts: the engine optimises the tiles in the background
 * meanwhile, and other threads may take the core. Ends after the least rounds as soon as `decided` says so or `MOST_MS` are over.
 */
export async function race(
  linear: LinearMemory,
  runners: readonly Runner[],
  rounds: { least: number; most: number },
  decided: (rates: readonly number[]) => boolean,
): Promise<number[]> {
  const tile = runners[0]!.kernels.matmul_scratch_bytes(FORM.f32, K);
  const pointer = linear.allocate(tile + (ROWS * K + N * K + ROWS * N) * 4);
  const a = pointer + tile;
  const b = a + ROWS * K * 4;
  const y = b + N * K * 4;
  const rates = runners.map(() => 0);
  const end = performance.now() + MOST_MS;
  try {
    for (let round = 0; round < rounds.least || (round < rounds.most && performance.now() < end && !decided(rates)); round++) {
      for (const [i, { kernels, group, form = FORM.f32 }] of runners.entries()) {
        linear.f32(pointer, (y - pointer) / 4).fill(1);
        const start = performance.now();
        let elapsed = 0;
        let calls = 0;
        for (; elapsed < SLICE_MS; elapsed = performance.now() - start, calls += CALLS) {
          for (let call = 0; call < CALLS; call++) {
            kernels.matmul(form, pointer, a, K * group * 4, ROWS, group, K, b, N, y, N * 4, 0, 0, 0, 0, 0);
          }
        }
        rates[i] = Math.max(rates[i]!, calls / elapsed);
      }
      await yieldToOthers();
    }
  } finally {
    linear.free(pointer);
  }
  return rates;
}
