/** The platform that a run of the portable suites claims to be on, and what it really is on. */
import { referenceCase, wasmCase, webgpuCase } from './backends.ts';
import type { BackendCase, Platform, Runtime } from './harness.ts';

/** What the runner expects of a runtime. Plain data, so that it passes through a command line or a URL. */
export interface Claim {
  runtime: Runtime;
  /** How the version starts. */
  version: string;
  isolated: boolean;
  /** Names of CASES: all that work there, and no others. Threads on one variant stand for both. */
  backends: readonly string[];
}

const CASES: Readonly<Record<string, () => BackendCase>> = {
  reference: referenceCase,
  'wasm simd128': () => wasmCase('simd128'),
  'wasm relaxed': () => wasmCase('relaxed'),
  'wasm simd128, 2 threads': () => wasmCase('simd128', 2),
  'wasm relaxed, 2 threads': () => wasmCase('relaxed', 2),
  webgpu: () => webgpuCase(),
};

/** The claimed platform; the platform suite checks the claim. */
export function platformOf(claim: Claim): Platform {
  const backends = claim.backends.map((name) => {
    const make = CASES[name];
    if (!make) throw new Error(`unknown backend "${name}"`);
    return make();
  });
  return { ...claim, backends };
}

interface RuntimeGlobals {
  Deno?: { version: { deno: string } };
  Bun?: { version: string };
  process?: { versions?: { node?: string } };
  navigator?: { userAgent?: string };
  crossOriginIsolated?: boolean;
}

/** What this really is. */
export function detectRuntime(): Pick<Platform, 'runtime' | 'version' | 'isolated'> {
  const { Deno, Bun, process, navigator, crossOriginIsolated } = globalThis as RuntimeGlobals;
  const sharing = typeof SharedArrayBuffer === 'function';
  if (Deno) return { runtime: 'deno', version: Deno.version.deno, isolated: sharing };
  if (Bun) return { runtime: 'bun', version: Bun.version, isolated: sharing };
  if (process?.versions?.node) return { runtime: 'node', version: process.versions.node, isolated: sharing };
  const version = /Chrome\/([\d.]+)/.exec(navigator?.userAgent ?? '')?.[1];
  if (!version) throw new Error(`this is no runtime that the suites know: ${navigator?.userAgent}`);
  return { runtime: 'chromium', version, isolated: crossOriginIsolated === true };
}
