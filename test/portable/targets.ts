/** Where the portable suites run, and what each place must have. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { driverEnvironment, driverIsChosen, loaderEnvironment, softwareDriver } from '../gpu.ts';
import { findChromium, NO_CHROMIUM } from './chromium.ts';
import type { PortableClaim } from './main.ts';
import type { Place } from './place.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BIN = path.join(ROOT, 'node_modules/.bin');

export interface Target {
  name: string;
  claim: PortableClaim;
  /** Undefined where nothing of it can run here. */
  place?: Place;
  /** What cannot run here, and why. */
  absent?: { reason: string; claim: PortableClaim };
}

export function targets(): Target[] {
  return [node20(), deno(), bun(), ...chromium()];
}

const ONE_THREAD = ['reference', 'wasm simd128', 'wasm relaxed'];
const PORTABLE_WASM = [...ONE_THREAD, 'wasm relaxed, 2 threads'];

/** The oldest Node that is supported: the machine's own, as npm puts a newer one in front of it. */
function node20(): Target {
  const name = 'node 20';
  const claim: PortableClaim = {
    runtime: 'node',
    version: '20.',
    isolated: true,
    backends: ['reference', 'wasm simd128', 'wasm simd128, 2 threads'],
  };
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => !folder.includes('node_modules'));
  const candidates = [...folders.map((folder) => path.join(folder, 'node')), path.join(ROOT, 'node_modules/node20/bin/node')];
  const node = candidates.find(
    (each) => existsSync(each) && spawnSync(each, ['--version'], { encoding: 'utf8' }).stdout?.startsWith('v20.'),
  );
  if (!node) return { name, claim, absent: { reason: 'no node 20 on the PATH', claim } };
  return { name, claim, place: { command: [node], env: {} } };
}

/**
 * Deno brings a WebGPU of its own (wgpu), which needs a Vulkan driver. Its suites compile much and compute little, so lavapipe need not
 * optimise: that saves a minute, where answers of a whole model would take twice as long.
 */
export function denoPlace(): Place {
  return {
    command: [path.join(BIN, 'deno'), 'run', '--allow-all', '--no-check'],
    env: { ...driverEnvironment('lavapipe'), GALLIVM_PERF: 'nopt', DENO_NO_UPDATE_CHECK: '1' },
  };
}

function deno(): Target {
  const claim: PortableClaim = { runtime: 'deno', version: '2.', isolated: true, backends: PORTABLE_WASM };
  const place = denoPlace();
  if (driverIsChosen || softwareDriver('lavapipe'))
    return { name: 'deno', claim: { ...claim, backends: [...PORTABLE_WASM, 'webgpu'] }, place };
  return { name: 'deno', claim, place, absent: { reason: 'no WebGPU, as lavapipe is missing', claim: { ...claim, backends: ['webgpu'] } } };
}

function bun(): Target {
  const claim: PortableClaim = { runtime: 'bun', version: '1.', isolated: true, backends: PORTABLE_WASM };
  return { name: 'bun', claim, place: { command: [path.join(BIN, 'bun'), 'run'], env: loaderEnvironment() } };
}

const ISOLATION = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const GPU = ['--enable-unsafe-webgpu'];
/** A page that has threads, and WebGPU on SwiftShader. */
export const ISOLATED_PAGE: Place = { page: { headers: ISOLATION, browserArguments: GPU } };

/** SwiftShader is slow: WebGPU runs all suites on one page, and on another only those that tell about the platform. */
function chromium(): Target[] {
  const claim: PortableClaim = { runtime: 'chromium', version: '', isolated: false, backends: ONE_THREAD };
  const policy = (more: string) => ({ 'content-security-policy': `default-src 'none'; script-src 'self'${more}` });
  const page = (name: string, own: Partial<PortableClaim>, place: Place): Target => {
    const whole = { ...claim, ...own };
    return findChromium() ? { name, claim: whole, place } : { name, claim: whole, absent: { reason: NO_CHROMIUM, claim: whole } };
  };
  return [
    page('chromium, isolated', { isolated: true, backends: [...PORTABLE_WASM, 'webgpu'] }, ISOLATED_PAGE),
    page(
      'chromium, not isolated',
      { backends: [...ONE_THREAD, 'webgpu'], suites: ['platform', 'errors'] },
      { page: { headers: {}, browserArguments: GPU } },
    ),
    page(
      'chromium, isolated, CSP without workers, no WebGPU',
      { isolated: true, suites: ['platform'] },
      { page: { headers: { ...ISOLATION, ...policy(" 'wasm-unsafe-eval'; worker-src 'none'") }, browserArguments: [] } },
    ),
    page('chromium, strict CSP, no WebGPU', {}, { page: { headers: policy(" 'wasm-unsafe-eval'"), browserArguments: [] } }),
    page('chromium, CSP without Wasm, no WebGPU', { backends: ['reference'] }, { page: { headers: policy(''), browserArguments: [] } }),
  ];
}
