/** Compute pipelines and bind groups, each made once. */
import { SkipVisionError } from '../errors.ts';
import type { GpuKernel } from './binding.ts';
import type { GpuMemory } from './buffers.ts';

/** Bytes of one `Params` slot in the uniform arena: the largest alignment of dynamic offsets, so it fits everywhere. */
export const PARAMS_BYTES = 256;

export interface Pipeline {
  readonly id: number;
  readonly kernel: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Access of storage operand i, which is binding 1 + i. */
  readonly access: readonly ('read' | 'read_write')[];
}

/** Bind groups are dropped all at once when there are this many: simpler than ageing, and rare. */
const MOST_BIND_GROUPS = 2048;

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a kernel with these override constants; compiles it the first time, inside `guard`. */
  get(kernel: GpuKernel, constants: Readonly<Record<string, number>>, guard: (make: () => Pipeline) => Pipeline): Pipeline {
    let key = kernel.name;
    for (const name in constants) key += ` ${name}=${constants[name]}`;
    let found = this.#pipelines.get(key);
    if (!found) {
      found = guard(() => this.#compile(kernel, constants));
      this.#pipelines.set(key, found);
    }
    return found;
  }

  /** `params` is the arena; its slot is chosen by the dynamic offset. `operands[i]` is binding 1 + i. */
  bindGroup(pipeline: Pipeline, params: GPUBuffer, operands: readonly GpuMemory[]): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const { id, bytes } of operands) key += ` ${id}:${bytes}`;
    let group = this.#bindGroups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = operands.map(({ buffer, bytes }, i) => ({ binding: 1 + i, resource: { buffer, size: bytes } }));
      entries.push({ binding: 0, resource: { buffer: params, size: PARAMS_BYTES } });
      group = this.#device.createBindGroup({ layout: pipeline.layout, entries });
      if (this.#bindGroups.size >= MOST_BIND_GROUPS) this.#bindGroups.clear();
      this.#bindGroups.set(key, group);
    }
    return group;
  }

  /** Forgets all bind groups: they keep destroyed buffers from being collected. */
  forgetBindGroups(): void {
    this.#bindGroups.clear();
  }

  #compile({ name, code }: GpuKernel, constants: Readonly<Record<string, number>>): Pipeline {
    const access = storageAccess(name, code);
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, i) => ({
      binding: 1 + i,
      visibility: 4, // GPUShaderStage.COMPUTE
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    entries.push({ binding: 0, visibility: 4, buffer: { type: 'uniform', hasDynamicOffset: true } });
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    let module = this.#modules.get(name);
    if (!module) {
      module = this.#device.createShaderModule({ label: name, code });
      this.#modules.set(name, module);
    }
    const pipeline = this.#device.createComputePipeline({
      label: name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main', constants: { ...constants } },
    });
    return { id: this.#pipelines.size, kernel: name, pipeline, layout, access };
  }
}

/**
 * Reads the storage bindings off the WGSL. Explicit layouts, because an automatic one drops the bindings that a
 * kernel happens not to use, and then refuses the bind group.
 */
function storageAccess(name: string, code: string): ('read' | 'read_write')[] {
  const access: ('read' | 'read_write')[] = [];
  for (const match of code.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<storage\s*(?:,\s*(read_write|read))?\s*>/g)) {
    access[Number(match[1]) - 1] = match[2] === 'read_write' ? 'read_write' : 'read';
  }
  for (let i = 0; i < access.length; i++) {
    if (!access[i]) throw new SkipVisionError('backend-failed', `kernel ${name} declares no @group(0) @binding(${1 + i}) var<storage>`);
  }
  return access;
}
