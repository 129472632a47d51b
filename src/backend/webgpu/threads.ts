/** Invocations of a workgroup of the kernels whose invocations are independent: their `THREADS`. */
const ELEMENT_THREADS = 64;

/** Workgroups for one invocation per element. */
export function elementGroups(elements: number): [number] {
  return [Math.ceil(elements / ELEMENT_THREADS)];
}
