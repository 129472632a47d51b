import type { GpuLike } from '../backend/webgpu/device.ts';

/** The GPU entry object of this runtime: its own, or that of the optional package `webgpu` (Dawn for Node). */
export async function findGpu(): Promise<GpuLike | undefined> {
  const own = (globalThis as { navigator?: { gpu?: GpuLike } }).navigator?.gpu;
  if (own) return own;
  try {
    const { create, globals } = await import('webgpu');
    for (const [name, value] of Object.entries(globals)) if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
    return create([]) as GpuLike;
  } catch {
    return undefined; // not installed, or not for this platform: the webgpu backend then says that there is no WebGPU
  }
}
