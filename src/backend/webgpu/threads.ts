/** Workgroup sizes: the `THREADS` constant of kernels that have no tile shape. */
import type { GpuContext } from './binding.ts';

/** For kernels whose invocations are independent. */
export const ELEMENT_THREADS = 64;

/** Workgroups for one invocation per element. */
export function elementGroups(elements: number): [number] {
  return [Math.ceil(elements / ELEMENT_THREADS)];
}

/**
 * For kernels whose workgroup shares a row: `wanted` on a GPU. Software adapters switch between the invocations of a
 * workgroup at every barrier: a LayerNorm takes 4 to 7 times as long with 64 of them as with 8.
 */
export function rowThreads({ features }: GpuContext, wanted = 64): number {
  return features.has('software-adapter') ? 8 : wanted;
}
