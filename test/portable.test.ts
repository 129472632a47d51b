/** The portable suites in this process: Node, with every backend that works here. */
import { describe, test } from 'vitest';
import { driverIsChosen, installedAdapters } from './gpu.ts';
import { collect, type Platform } from './harness.ts';
import { nodeBackends } from './node-backends.ts';
import { SUITES } from './suites/index.ts';

const platform: Platform = {
  runtime: 'node',
  version: '24.',
  isolated: true,
  backends: nodeBackends(),
};

for (const suite of Object.keys(SUITES)) {
  describe(suite, () => {
    for (const { name, run, reason } of collect({ [suite]: SUITES[suite]! }, platform)) {
      if (run) test(name, { timeout: 120_000 }, run);
      else test.skip(`${name}: ${reason}`);
    }
  });
}

if (!driverIsChosen && installedAdapters().length < 2) {
  test.skip('webgpu on lavapipe and on SwiftShader: a driver is missing, build/setup-gpu.sh installs both');
}
