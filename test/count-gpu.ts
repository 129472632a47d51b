/** Counts what a WebGPU device is asked to do. */
export interface GpuCounts {
  dispatches: number;
  submits: number;
}

/** Watches a device from outside, so that no bookkeeping of the backend is taken on trust. */
export function countGpu(device: GPUDevice): GpuCounts {
  const counts: GpuCounts = { dispatches: 0, submits: 0 };
  after(device, 'createCommandEncoder', (encoder) =>
    after(encoder, 'beginComputePass', (pass) => after(pass, 'dispatchWorkgroups', () => counts.dispatches++)),
  );
  after(device.queue, 'submit', () => counts.submits++);
  return counts;
}

function after<T extends object, K extends keyof T>(
  target: T,
  name: K,
  then: (result: T[K] extends (...args: never) => infer R ? R : never) => void,
): void {
  const original = (target[name] as (...args: unknown[]) => never).bind(target);
  target[name] = ((...args: unknown[]) => {
    const result = original(...args);
    then(result);
    return result;
  }) as T[K];
}
