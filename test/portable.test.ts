/** The portable suites in this process: Node, with every backend that works here. */
import { describe, test } from 'vitest';
import { referenceCase, wasmCase, webgpuCase } from './backends.ts';
import { driverIsChosen, nodeGpu, softwareDriver } from './gpu.ts';
import { collect, type Platform } from './harness.ts';
import { SUITES } from './suites/index.ts';

const adapters = (['lavapipe', 'swiftshader'] as const).filter((adapter) => !driverIsChosen && softwareDriver(adapter));
const webgpu = driverIsChosen ? [webgpuCase('', () => nodeGpu())] : adapters.map((adapter) => webgpuCase(adapter, () => nodeGpu(adapter)));

const platform: Platform = {
  runtime: 'node',
  version: '24.',
  isolated: true,
  backends: [referenceCase(), wasmCase('simd128'), wasmCase('relaxed'), ...webgpu],
};

for (const suite of Object.keys(SUITES)) {
  describe(suite, () => {
    for (const { name, run, reason } of collect({ [suite]: SUITES[suite]! }, platform)) {
      if (run) test(name, { timeout: 120_000 }, run);
      else test.skip(`${name}: ${reason}`);
    }
  });
}

if (!driverIsChosen && adapters.length < 2) {
  test.skip('webgpu on lavapipe and on SwiftShader: a driver is missing, build/setup-gpu.sh installs both');
}
