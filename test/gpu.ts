/** WebGPU in Node: the `webgpu` package (Dawn) on a Vulkan driver that is found here. Node only. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Software drivers, with the word by which Dawn's `adapter=` option finds each: a part of the adapter's description. */
export const ADAPTER_NAMES = { lavapipe: 'llvmpipe', swiftshader: 'SwiftShader' } as const;
export type SoftwareAdapter = keyof typeof ADAPTER_NAMES;

const ROOT = path.resolve(import.meta.dirname, '..');
const CHROMIUM_FOLDERS = ['/usr/lib/chromium', '/opt/google/chrome', '/usr/lib/chromium-browser'];
const DRIVERS: Readonly<Record<SoftwareAdapter, readonly string[]>> = {
  lavapipe: [path.join(ROOT, '.gpu/lvp_icd.json')],
  swiftshader: CHROMIUM_FOLDERS.map((folder) => path.join(folder, 'vk_swiftshader_icd.json')),
};

/** Drivers that the user named: they win over those found here. */
const CHOSEN = process.env.VK_ICD_FILENAMES;

/** True when VK_ICD_FILENAMES says which driver to use, a real GPU's for instance. */
export const driverIsChosen = CHOSEN !== undefined && CHOSEN !== '';

/** Path of the Vulkan manifest of a software driver, if it is installed. */
export function softwareDriver(adapter: SoftwareAdapter): string | undefined {
  return DRIVERS[adapter].find((each) => existsSync(each));
}

export function installedAdapters(): SoftwareAdapter[] {
  return (Object.keys(DRIVERS) as SoftwareAdapter[]).filter((adapter) => softwareDriver(adapter));
}

/** XDG_RUNTIME_DIR only silences a warning. lavapipe compiles for vectors of 128 bits in half the time that it takes for those of the CPU. */
const SETTINGS = { XDG_RUNTIME_DIR: os.tmpdir(), LP_NATIVE_VECTOR_WIDTH: '128' };

function softwareSettings(): Record<string, string> {
  return Object.fromEntries(Object.entries(SETTINGS).map(([name, value]) => [name, process.env[name] || value]));
}

/** Environment in which a child process finds a Vulkan loader: Chromium brings one, for machines that have none. */
export function loaderEnvironment(): Record<string, string> {
  const folder = CHROMIUM_FOLDERS.find((each) => existsSync(path.join(each, 'libvulkan.so.1')));
  const own = (process.env.LD_LIBRARY_PATH ?? '').split(path.delimiter).filter(Boolean);
  const folders = folder && !own.includes(folder) ? [...own, folder] : own;
  return {
    ...softwareSettings(),
    ...(folders.length && { LD_LIBRARY_PATH: folders.join(path.delimiter) }),
  };
}

/** The same, with the driver that other WebGPU implementations than Dawn are to use. */
export function driverEnvironment(adapter: SoftwareAdapter): Record<string, string> {
  const driver = CHOSEN || softwareDriver(adapter);
  return { ...loaderEnvironment(), ...(driver && { VK_ICD_FILENAMES: driver }) };
}

/** Dawn's entry objects: a device dies with the object that it came from, so they stay referenced. */
const instances = new Map<string, Promise<GPU>>();

/** The `GPU` object of the `webgpu` package for one driver: the chosen one, the named one, or the fastest installed. */
export function nodeGpu(adapter: SoftwareAdapter | undefined = installedAdapters()[0]): Promise<GPU> {
  const name = driverIsChosen || !adapter ? '' : ADAPTER_NAMES[adapter];
  const gpu = instances.get(name) ?? createGpu(name);
  instances.set(name, gpu);
  return gpu;
}

async function createGpu(name: string): Promise<GPU> {
  const { create, globals } = await import('webgpu');
  // The Vulkan loader reads this when an adapter is asked for.
  process.env.VK_ICD_FILENAMES = CHOSEN || installedAdapters().map(softwareDriver).join(path.delimiter);
  Object.assign(process.env, softwareSettings());
  for (const [key, value] of Object.entries(globals)) if (!(key in globalThis)) Object.assign(globalThis, { [key]: value });
  return create(name ? [`adapter=${name}`] : []) as GPU;
}

/**
 * Installs the software drivers when there is none and none was chosen (build/setup-gpu.sh: Debian, root). What it could not do
 * shows up as the reason why there is no adapter.
 */
export function ensureDriver(): void {
  if (driverIsChosen || installedAdapters().length > 0) return;
  const { stdout, stderr } = spawnSync('bash', [path.join(ROOT, 'build/setup-gpu.sh')], { encoding: 'utf8' });
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
}
