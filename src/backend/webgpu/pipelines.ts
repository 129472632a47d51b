/** Compute pipelines and bind groups, each made once. */
import type { Constants } from './binding.ts';
import type { GpuRange } from './buffers.ts';
import { type Access, accessOf, codeOf, type GpuKernel, type ParamField, paramsOf, refusal } from './kernel.ts';

/** Bytes of one `Params` slot in the uniform arena: the largest alignment of dynamic offsets, so it fits everywhere. */
export const PARAMS_BYTES = 256;

/** What is read off a kernel once. */
interface Source {
  readonly kernel: string;
  readonly module: GPUShaderModule;
  readonly layout: GPUBindGroupLayout;
  readonly access: readonly Access[];
  readonly params: readonly ParamField[];
}

export interface Pipeline extends Source {
  readonly constants: Constants;
  readonly descriptor: GPUComputePipelineDescriptor;
  /** Absent until it is needed, or was compiled beside other work. */
  compiled?: GPUComputePipeline;
  compiling?: Promise<void>;
  /** Bind groups by a hash of their operands' ids and offsets. */
  readonly groups: Map<number, BoundGroup>;
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
  readonly #pipelines = new Map<GpuKernel, Pipeline[]>();
  #bindGroups = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a kernel with these override constants, compiled or not, if it was made before. */
  find(kernel: GpuKernel, constants: Constants): Pipeline | undefined {
    const variants = this.#pipelines.get(kernel);
    if (variants) for (const pipeline of variants) if (isEqual(pipeline.constants, constants)) return pipeline;
    return undefined;
  }

  /** Makes its module and its layout; it is compiled when it is needed. */
  make(kernel: GpuKernel, given: Constants): Pipeline {
    const source = this.#sources.get(kernel) ?? this.#read(kernel);
    const constants = { ...given };
    const descriptor: GPUComputePipelineDescriptor = {
      label: kernel.name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [source.layout] }),
      compute: { module: source.module, entryPoint: 'main', constants },
    };
    const pipeline = { ...source, constants, descriptor, groups: new Map<number, BoundGroup>() };
    this.#pipelines.set(kernel, [...(this.#pipelines.get(kernel) ?? []), pipeline]);
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
    for (const variants of this.#pipelines.values()) for (const { groups } of variants) groups.clear();
    this.#bindGroups = 0;
  }

  #read(kernel: GpuKernel): Source {
    const { name } = kernel;
    const code = codeOf(kernel);
    const params = paramsOf(name, code);
    if (params.length * 4 > PARAMS_BYTES) throw refusal(name, `${params.length} params do not fit ${PARAMS_BYTES} bytes`);
    const module = this.#device.createShaderModule({ label: name, code });
    const access = accessOf(name, code);
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, i) => ({
      binding: 1 + i,
      visibility: 4, // GPUShaderStage.COMPUTE
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    entries.push({ binding: 0, visibility: 4, buffer: { type: 'uniform', hasDynamicOffset: true } });
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    const source = { kernel: name, module, layout, access, params };
    this.#sources.set(kernel, source);
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
