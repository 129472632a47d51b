/** Where the portable suites run, and what each place must have. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { driverEnvironment, driverIsChosen, loaderEnvironment, softwareDriver } from '../gpu.ts';
import type { PortableClaim } from './main.ts';
import type { Place } from './place.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BIN = path.join(ROOT, 'node_modules/.bin');

export interface Missing {
  name: string;
  /** Why this place is skipped. */
  missing: string;
}
export type Target = Missing | (Place & { name: string; claim: PortableClaim });

export function targets(): Target[] {
  return [node20(), deno(), bun(), ...chromium()];
}

const ONE_THREAD = ['reference', 'wasm simd128', 'wasm relaxed'];
const PORTABLE_WASM = [...ONE_THREAD, 'wasm relaxed, 2 threads'];

/** The oldest Node that is supported: the machine's own, as npm puts a newer one in front of it. */
function node20(): Target {
  const name = 'node 20';
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => !folder.includes('node_modules'));
  const candidates = [...folders.map((folder) => path.join(folder, 'node')), path.join(ROOT, 'node_modules/node20/bin/node')];
  const node = candidates.find(
    (each) => existsSync(each) && spawnSync(each, ['--version'], { encoding: 'utf8' }).stdout?.startsWith('v20.'),
  );
  if (!node) return { name, missing: 'no node 20 on the PATH' };
  return {
    name,
    command: [node],
    env: {},
    claim: { runtime: 'node', version: '20.', isolated: true, backends: ['reference', 'wasm simd128', 'wasm simd128, 2 threads'] },
  };
}

/** Deno brings a WebGPU of its own (wgpu), which needs a Vulkan driver. */
export function denoPlace(): Place {
  return {
    command: [path.join(BIN, 'deno'), 'run', '--allow-all', '--no-check'],
    env: { ...driverEnvironment('lavapipe'), DENO_NO_UPDATE_CHECK: '1' },
  };
}

function deno(): Target {
  const withGpu = driverIsChosen || softwareDriver('lavapipe') !== undefined;
  return {
    ...denoPlace(),
    name: withGpu ? 'deno' : 'deno, without WebGPU as lavapipe is missing',
    claim: { runtime: 'deno', version: '2.', isolated: true, backends: withGpu ? [...PORTABLE_WASM, 'webgpu'] : PORTABLE_WASM },
  };
}

function bun(): Target {
  const claim = { runtime: 'bun', version: '1.', isolated: true, backends: PORTABLE_WASM } as const;
  return { name: 'bun', command: [path.join(BIN, 'bun'), 'run'], env: loaderEnvironment(), claim };
}

const ISOLATION = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const GPU = ['--enable-unsafe-webgpu'];
/** A page that has threads, and WebGPU on SwiftShader. */
export const ISOLATED_PAGE: Place = { page: { headers: ISOLATION, browserArguments: GPU } };

/** SwiftShader is slow: WebGPU runs all suites on one page, and on another only those that tell about the platform. */
function chromium(): Target[] {
  const claim = { runtime: 'chromium', version: '', isolated: false, backends: ONE_THREAD } as const;
  return [
    {
      ...ISOLATED_PAGE,
      name: 'chromium, isolated',
      claim: { ...claim, isolated: true, backends: [...PORTABLE_WASM, 'webgpu'] },
    },
    {
      name: 'chromium, not isolated',
      page: { headers: {}, browserArguments: GPU },
      claim: { ...claim, backends: [...ONE_THREAD, 'webgpu'], suites: ['platform', 'errors'] },
    },
    {
      name: 'chromium, isolated, CSP without workers, no WebGPU',
      page: {
        headers: { ...ISOLATION, 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'" },
        browserArguments: [],
      },
      claim: { ...claim, isolated: true, suites: ['platform'] },
    },
    {
      name: 'chromium, strict CSP, no WebGPU',
      page: { headers: { 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" }, browserArguments: [] },
      claim,
    },
    {
      name: 'chromium, CSP without Wasm, no WebGPU',
      page: { headers: { 'content-security-policy': "default-src 'none'; script-src 'self'" }, browserArguments: [] },
      claim: { ...claim, backends: ['reference'] },
    },
  ];
}
