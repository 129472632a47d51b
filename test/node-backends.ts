/** Every backend that can be tested in this Node process: with both software GPUs, or on the driver the user chose. */
import { referenceCase, wasmCase, webgpuCase, wideCase } from './backends.ts';
import { driverIsChosen, installedAdapters, nodeGpu } from './gpu.ts';
import type { BackendCase } from './harness.ts';

export function nodeBackends(): BackendCase[] {
  const webgpu = driverIsChosen
    ? [webgpuCase('', () => nodeGpu())]
    : installedAdapters().map((adapter) => webgpuCase(adapter, () => nodeGpu(adapter)));
  return [referenceCase(), wasmCase('simd128'), wasmCase('relaxed'), wasmCase('relaxed', 2), wideCase(), ...webgpu];
}
