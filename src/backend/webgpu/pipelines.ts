/** Compute pipelines and bind groups, each made once. */
import { SkipVisionError } from '../errors.ts';
import type { GpuKernel } from './binding.ts';
import type { GpuMemory } from './buffers.ts';

/** Bytes of one `Params` slot in the uniform arena: the largest alignment of dynamic offsets, so it fits everywhere. */
export const PARAMS_BYTES = 256;

type Constants = Readonly<Record<string, number>>;

export interface Pipeline {
  readonly kernel: string;
  readonly descriptor: GPUComputePipelineDescriptor;
  /** Absent until it is needed, or was compiled beside other work. */
  compiled?: GPUComputePipeline;
  compiling?: Promise<void>;
  readonly layout: GPUBindGroupLayout;
  /** Access of storage operand i, which is binding 1 + i. */
  readonly access: readonly ('read' | 'read_write')[];
  /** Bind groups by a hash of their operands' ids. */
  readonly groups: Map<number, BoundGroup>;
}

interface BoundGroup {
  operands: readonly GpuMemory[];
  group: GPUBindGroup;
  /** Another one with the same hash. */
  next: BoundGroup | undefined;
}

/** Bind groups are dropped all at once when there are this many: simpler than ageing, and rare. */
const MOST_BIND_GROUPS = 2048;

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #modules = new Map<GpuKernel, GPUShaderModule>();
  /** Of each kernel, by its constants: a few, which are compared sooner than a key is made of them. */
  readonly #pipelines = new Map<GpuKernel, { constants: Constants; pipeline: Pipeline }[]>();
  #bindGroups = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a kernel with these override constants, compiled or not; makes its module and layout the first time, inside `guard`. */
  get(kernel: GpuKernel, constants: Constants, guard: (make: () => Pipeline) => Pipeline): Pipeline {
    const variants = this.#pipelines.get(kernel);
    if (variants) for (const variant of variants) if (isEqual(variant.constants, constants)) return variant.pipeline;
    const pipeline = guard(() => this.#describe(kernel, constants));
    if (variants) variants.push({ constants: { ...constants }, pipeline });
    else this.#pipelines.set(kernel, [{ constants: { ...constants }, pipeline }]);
    return pipeline;
  }

  /** Compiles now. The device tells later where it refuses the kernel. */
  compile(pipeline: Pipeline): void {
    pipeline.compiled ??= this.#device.createComputePipeline(pipeline.descriptor);
  }

  /** Compiles beside other work, and beside other pipelines. Rejects where the device refuses the kernel. */
  async prepare(pipeline: Pipeline): Promise<void> {
    if (pipeline.compiled) return;
    pipeline.compiling ??= this.#device.createComputePipelineAsync(pipeline.descriptor).then((compiled) => {
      pipeline.compiled ??= compiled;
    });
    await pipeline.compiling;
  }

  /** `params` is the arena; its slot is chosen by the dynamic offset. `operands[i]` is binding 1 + i. */
  bindGroup(pipeline: Pipeline, params: GPUBuffer, operands: readonly GpuMemory[]): GPUBindGroup {
    let hash = 0;
    for (let i = 0; i < operands.length; i++) hash = (Math.imul(hash, 31) + operands[i]!.id) | 0;
    const chain = pipeline.groups.get(hash);
    for (let found = chain; found; found = found.next) if (isSame(found.operands, operands)) return found.group;
    const entries: GPUBindGroupEntry[] = operands.map(({ buffer, bytes }, i) => ({ binding: 1 + i, resource: { buffer, size: bytes } }));
    entries.push({ binding: 0, resource: { buffer: params, size: PARAMS_BYTES } });
    const group = this.#device.createBindGroup({ layout: pipeline.layout, entries });
    if (++this.#bindGroups > MOST_BIND_GROUPS) this.forgetBindGroups();
    pipeline.groups.set(hash, { operands, group, next: pipeline.groups.get(hash) });
    return group;
  }

  /** Forgets all bind groups: they keep destroyed buffers from being collected. */
  forgetBindGroups(): void {
    for (const variants of this.#pipelines.values()) for (const { pipeline } of variants) pipeline.groups.clear();
    this.#bindGroups = 0;
  }

  #describe(kernel: GpuKernel, constants: Constants): Pipeline {
    const { name, code } = kernel;
    const access = storageAccess(name, code);
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, i) => ({
      binding: 1 + i,
      visibility: 4, // GPUShaderStage.COMPUTE
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    entries.push({ binding: 0, visibility: 4, buffer: { type: 'uniform', hasDynamicOffset: true } });
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    let module = this.#modules.get(kernel);
    if (!module) {
      module = this.#device.createShaderModule({ label: name, code });
      this.#modules.set(kernel, module);
    }
    const descriptor: GPUComputePipelineDescriptor = {
      label: name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main', constants: { ...constants } },
    };
    return { kernel: name, descriptor, layout, access, groups: new Map() };
  }
}

/** Whether both have the same values under the same names. */
function isEqual(a: Constants, b: Constants): boolean {
  let names = 0;
  for (const name in a) {
    if (a[name] !== b[name]) return false;
    names++;
  }
  for (const _ in b) names--;
  return names === 0;
}

function isSame(a: readonly GpuMemory[], b: readonly GpuMemory[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i]!.id !== b[i]!.id) return false;
  return true;
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
