/** Adapter, device, and what is known about them. */
import { type Limits, REJECTED_OPTION, type Rejection } from '../backend.ts';
import type { Feature } from '../features.ts';
import { SkipVisionError } from '../errors.ts';
import * as field from '../fields.ts';
import type { Shapes } from './binding.ts';

/** A `GPU` object (`navigator.gpu`, or what npm `webgpu` creates), by structure: no user needs @webgpu/types. */
export interface GpuLike {
  requestAdapter(options?: never): Promise<unknown>;
}

/** A `GPUDevice`, by structure. */
export interface GpuDeviceLike {
  readonly queue: object;
  readonly lost: Promise<unknown>;
  createBuffer(descriptor: never): unknown;
}

export interface DeviceOptions {
  /** Device of the caller: used as it is, never destroyed. */
  device?: GpuDeviceLike;
  /** Where adapters come from. Default `navigator.gpu`; Node has none, so pass what npm `webgpu` creates. */
  gpu?: GpuLike;
  powerPreference?: 'low-power' | 'high-performance';
  /**
   * Whether products with q8 and q4 weights quantize the rows to int8 too, from 9 rows on. Default: where the WGSL of `gpu` has
   * packed_4x8_integer_dot_product. Without, the weights are expanded to floats on the fly: nearer to f32.
   */
  integerDot?: boolean;
}

/** By structure, as it may be of another realm, or a stand-in. */
export const DEVICE = field.anything<GpuDeviceLike>('a GPUDevice', (value) => {
  const { createBuffer, limits, queue } = (value ?? {}) as Partial<GPUDevice>;
  return typeof createBuffer === 'function' && typeof limits === 'object' && typeof queue === 'object';
});
export const GPU_ENTRY = field.anything<GpuLike>(
  'a GPU object, e.g. navigator.gpu',
  (value) => typeof (value as Partial<GpuLike> | null)?.requestAdapter === 'function',
);

export interface WebGpuBackendOptions extends DeviceOptions {
  rejected?: readonly Rejection[];
  /** What `tuneWebGpu` found on the same adapter. */
  tuning?: { readonly shapes: Shapes };
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const isShape = (value: unknown) => isObject(value) && Object.values(value).every(Number.isInteger);
const isTuning = (value: unknown) => {
  const { shapes } = (value ?? {}) as { shapes?: unknown };
  return isObject(shapes) && Object.values(shapes).every(isShape);
};
export const WEBGPU_BACKEND_FIELDS: field.Fields<WebGpuBackendOptions> = {
  device: field.optional(DEVICE),
  gpu: field.optional(GPU_ENTRY),
  powerPreference: field.optional(field.oneOf('low-power', 'high-performance')),
  integerDot: field.optional(field.boolean),
  ...REJECTED_OPTION,
  tuning: field.optional(field.anything<{ readonly shapes: Shapes }>('what tuneWebGpu gave', isTuning)),
};

export interface OpenDevice {
  device: GPUDevice;
  /** True when we made the device and may destroy it. */
  owned: boolean;
  description: string;
  /** In lower case; empty where the adapter does not tell. */
  vendor: string;
  features: ReadonlySet<Feature>;
  limits: Limits;
  /**
   * Must stay referenced as long as the device: npm `webgpu` crashes the process when its GPU object is
   * garbage-collected under a live device.
   */
  keepAlive: readonly unknown[];
}

/** More of these lets tuned kernels run; every kernel also works at the specification's defaults. */
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupsPerDimension',
] as const;
const WANTED_FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'] as const;

export async function openDevice(options: DeviceOptions): Promise<OpenDevice> {
  const { device: given, integerDot = true } = options;
  const gpu = (options.gpu ?? (globalThis as { navigator?: { gpu?: GpuLike } }).navigator?.gpu) as GPU | undefined;
  const adapter = given ? undefined : await requestAdapter(gpu, options.powerPreference);
  const device = adapter ? await requestDevice(adapter) : (given as unknown as GPUDevice);
  const info: Partial<GPUAdapterInfo> | undefined = adapter ? adapter.info : device.adapterInfo;
  const description = [info?.vendor, info?.architecture, info?.description].filter(Boolean).join(' ') || 'unknown adapter';
  const features = new Set<Feature>(WANTED_FEATURES.filter((name) => device.features.has(name)));
  if (integerDot && gpu?.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product')) features.add('integer-dot-product');
  if (info?.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(description)) features.add('software-adapter');
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const limits = { maxBufferBytes: Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize) / 256) * 256 };
  const vendor = info?.vendor?.toLowerCase() ?? '';
  return { device, owned: !given, description, vendor, features, limits, keepAlive: [gpu, adapter, device] };
}

async function requestAdapter(gpu: GPU | undefined, powerPreference: GPUPowerPreference | undefined): Promise<GPUAdapter> {
  if (!gpu) throw unavailable('this runtime has no navigator.gpu; pass `gpu` (npm "webgpu") or `device`');
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : undefined);
  } catch (cause) {
    throw unavailable(`the adapter request failed: ${String(cause)}`, cause);
  }
  if (!adapter) throw unavailable('no GPU adapter was found');
  return adapter;
}

async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) {
    const value = adapter.limits[name];
    if (typeof value === 'number') requiredLimits[name] = value;
  }
  const requiredFeatures = WANTED_FEATURES.filter((name) => adapter.features.has(name));
  try {
    return await adapter.requestDevice({ requiredLimits, requiredFeatures });
  } catch (cause) {
    throw unavailable(`the adapter gave no device: ${String(cause)}`, cause);
  }
}

function unavailable(reason: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('no-backend', `WebGPU: ${reason}`, { cause });
}
