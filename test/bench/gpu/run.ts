/**
 * `npm run bench -- gpu [--quick] [--json] [--only NAME,...] [--adapter lavapipe|swiftshader] [--peers DIR] [--chain N] [--shape T,D,M]`:
 * the tables of the WebGPU backend, on the driver that VK_ICD_FILENAMES names, or on each software driver that is installed, one after
 * another. Every adapter has a process of its own: whatever in it asks for an adapter, onnxruntime's own Dawn included, finds only this.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { driverIsChosen, ensureDriver, installedAdapters, loaderEnvironment, type SoftwareAdapter, softwareDriver } from '../../gpu.ts';

export interface GpuOptions {
  quick: boolean;
  json: boolean;
  /** Names of tables, separated by commas. */
  only?: string;
  adapter?: string;
  /** Folder with a node_modules of peers that are not installed here. */
  peers?: string;
  /** Blocks of a long chain: fewer for a slow adapter, more where a block is below the jitter of waiting for it. Default 9. */
  chain?: string;
  /** T,D,M for the table ffn, in place of its own. */
  shape?: string[];
}

/** Exit status: 1 when an adapter's run failed or there is none. With `json` a line for each adapter, followed by one for each of its tables. */
export function benchGpu({ quick, json, only, adapter, peers, chain, shape = [] }: GpuOptions): number {
  ensureDriver();
  const installed = installedAdapters();
  if (adapter && !installed.includes(adapter as SoftwareAdapter)) {
    throw new Error(`no adapter ${adapter}; installed are ${installed.join(', ') || 'none'}`);
  }
  const adapters = adapter ? [adapter as SoftwareAdapter] : driverIsChosen ? [undefined] : installed;
  const flags = { quick, json };
  const settings = { only, peers, chain };
  const args = [
    ...Object.entries(flags).flatMap(([name, value]) => (value ? [`--${name}`] : [])),
    ...shape.flatMap((each) => ['--shape', each]),
    ...Object.entries(settings).flatMap(([name, value]) => (value ? [`--${name}`, value] : [])),
  ];
  const statuses = adapters.map((each) => runOn(each, args));
  return statuses.length > 0 && statuses.every((status) => status === 0) ? 0 : 1;
}

function runOn(adapter: SoftwareAdapter | undefined, args: readonly string[]): number {
  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const { status, signal } = spawnSync(process.execPath, ['--import', file('../../assets-hook.mjs'), file('main.ts'), ...args], {
    env: { ...process.env, ...loaderEnvironment(), ...(adapter && { VK_ICD_FILENAMES: softwareDriver(adapter) }) },
    stdio: 'inherit',
  });
  if (signal) process.stderr.write(`the benchmark on ${adapter ?? 'the chosen adapter'} ended with ${signal}\n`);
  return status ?? 1;
}
