/** The portable suites in this process: Node, with every backend that works here. */
import { describe, test } from 'vitest';
import { webgpuCase } from './backends.ts';
import { ADAPTER_NAMES, driverIsChosen, type SoftwareAdapter, softwareDriver } from './gpu.ts';
import { collect, type Platform } from './harness.ts';
import { nodeBackends } from './node-backends.ts';
import { findChromium } from './portable/chromium.ts';
import { SUITES } from './suites/index.ts';

const platform: Platform = {
  runtime: 'node',
  version: '24.',
  isolated: true,
  backends: nodeBackends(),
};

/** SwiftShader takes minutes for these, and Chromium runs them on it: see portable/targets.ts. */
const IN_CHROMIUM = ['ops', 'laws'];

for (const suite of Object.keys(SUITES)) {
  const elsewhere = IN_CHROMIUM.includes(suite) && findChromium();
  const backends = platform.backends.filter(({ name }) => !(elsewhere && name.includes('swiftshader')));
  describe(suite, () => {
    for (const { name, run, reason } of collect({ [suite]: SUITES[suite]! }, { ...platform, backends })) {
      if (run) test(name, run);
      else test.skip(`${name}: ${reason}`);
    }
  });
}

/** What a driver that is missing leaves out. */
const missing = driverIsChosen ? [] : (Object.keys(ADAPTER_NAMES) as SoftwareAdapter[]).filter((adapter) => !softwareDriver(adapter));
for (const adapter of missing) {
  describe(`${adapter} is missing, build/setup-gpu.sh installs it`, () => {
    for (const { name } of collect(SUITES, { ...platform, backends: [webgpuCase(adapter)] })) test.skip(name);
  });
}
