/** Compute pipelines and bind groups, each made once. */
import type { Constants } from './binding.ts';
import type { GpuRange } from './buffers.ts';
import { type Access, accessOf, codeOf, type GpuKernel, type ParamField, paramsOf, refusal } from './kernel.ts';

/** Bytes of one `Params` slot in the uniform arena: the largest alignment of dynamic offsets, so it fits everywhere. */
export const PARAMS_BYTES = 256;

export interface Pipeline {
  readonly kernel: string;
  readonly descriptor: GPUComputePipelineDescriptor;
  /** Absent until it is needed, or was compiled beside other work. */
  compiled?: GPUComputePipeline;
  compiling?: Promise<void>;
  readonly layout: GPUBindGroupLayout;
  readonly access: readonly Access[];
  readonly params: readonly ParamField[];
  /** Bind groups by a hash of their operands' ids and offsets. */
  readonly groups: Map<number, BoundGroup>;
}

/** What is read off a kernel once. */
interface Source {
  module: GPUShaderModule;
  access: readonly Access[];
  params: readonly ParamField[];
}

interface BoundGroup {
  operands: readonly GpuRange[];
  group: GPUBindGroup;
  /** Another one with the same hash. */
  next: BoundGroup | undefined;
}

/** Bind groups are dropped all at once when there are this many: simpler than ageing, and rare. */
const MOST_BIND_GROUPS = 2048;

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #sources = new Map<GpuKernel, Source>();
  /** Of each kernel, by its constants: a few, which are compared sooner than a key is made of them. */
  readonly #pipelines = new Map<GpuKernel, { constants: Constants; pipeline: Pipeline }[]>();
  #bindGroups = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a kernel with these override constants, compiled or not, if it was made before. */
  find(kernel: GpuKernel, constants: Constants): Pipeline | undefined {
    const variants = this.#pipelines.get(kernel);
    if (variants) for (const variant of variants) if (isEqual(variant.constants, constants)) return variant.pipeline;
    return undefined;
  }

  /** Makes its module and its layout; it is compiled when it is needed. */
  make(kernel: GpuKernel, constants: Constants): Pipeline {
    const pipeline = this.#describe(kernel, constants);
    const variant = { constants: { ...constants }, pipeline };
    const variants = this.#pipelines.get(kernel);
    if (variants) variants.push(variant);
    else this.#pipelines.set(kernel, [variant]);
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
  bindGroup(pipeline: Pipeline, params: GPUBuffer, operands: readonly GpuRange[]): GPUBindGroup {
    let hash = 0;
    for (let i = 0; i < operands.length; i++) hash = (Math.imul(hash, 31) + operands[i]!.id + Math.imul(operands[i]!.offset, 7)) | 0;
    const chain = pipeline.groups.get(hash);
    for (let found = chain; found; found = found.next) if (isSame(found.operands, operands)) return found.group;
    const entries: GPUBindGroupEntry[] = operands.map(({ buffer, offset, bytes }, i) => ({
      binding: 1 + i,
      resource: { buffer, offset, size: bytes },
    }));
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
    const { name } = kernel;
    const { module, access, params } = this.#source(kernel);
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, i) => ({
      binding: 1 + i,
      visibility: 4, // GPUShaderStage.COMPUTE
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    entries.push({ binding: 0, visibility: 4, buffer: { type: 'uniform', hasDynamicOffset: true } });
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    const descriptor: GPUComputePipelineDescriptor = {
      label: name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main', constants: { ...constants } },
    };
    return { kernel: name, descriptor, layout, access, params, groups: new Map() };
  }

  #source(kernel: GpuKernel): Source {
    let source = this.#sources.get(kernel);
    if (!source) {
      const { name } = kernel;
      const code = codeOf(kernel);
      const params = paramsOf(name, code);
      if (params.length * 4 > PARAMS_BYTES) throw refusal(name, `${params.length} params do not fit ${PARAMS_BYTES} bytes`);
      source = { module: this.#device.createShaderModule({ label: name, code }), access: accessOf(name, code), params };
      this.#sources.set(kernel, source);
    }
    return source;
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

function isSame(a: readonly GpuRange[], b: readonly GpuRange[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i]!.id !== b[i]!.id || a[i]!.offset !== b[i]!.offset) return false;
  return true;
}
