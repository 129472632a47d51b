import type { Backend, Rejection, SignalOption } from './backend.ts';
import { BACKEND_NAMES, type BackendName } from './features.ts';
import { invalidArgument, SkipVisionError, unknownName } from './errors.ts';
import * as field from './fields.ts';
import { THREADS, WORKER_URL } from './wasm/options.ts';
import { DEVICE, GPU_ENTRY, type GpuDeviceLike, type GpuLike } from './webgpu/device.ts';

export interface SelectOptions extends SignalOption {
  /** Backends to try, in this order; the others are not tried. Default: webgpu, wasm, reference. */
  prefer?: BackendName | readonly BackendName[];
  /** A GPUDevice of the caller: used as it is, never destroyed by us. */
  device?: GpuDeviceLike;
  /** A GPU entry object where `navigator.gpu` is missing, e.g. of the `webgpu` package in Node. Keep it referenced. */
  gpu?: GpuLike;
  /** Products of integers on the webgpu backend: see DeviceOptions. */
  integerDot?: boolean;
  /** Threads for the wasm backend. Default 1; where more are not to be had it runs on one and tells `onFallback` why. */
  threads?: number;
  /** 256-bit products on the wasm backend, where they are to be had: see WasmBackendOptions. Default false. */
  wide?: boolean;
  /** The package's `worker.js`, where it does not lie beside the module that this one was bundled into. */
  workerUrl?: string | URL;
  /** Told about every backend or feature that was asked for and not taken, and why. */
  onFallback?(rejection: Rejection): void;
}

const NAME = field.anything<BackendName>(`one of ${BACKEND_NAMES.join(', ')}`, (value) => typeof value === 'string'); // which: told by 'unknown-name'
const NAMES = field.list(NAME);
export const SELECT_FIELDS: field.Fields<SelectOptions> = {
  prefer: field.optional(
    field.anything<NonNullable<SelectOptions['prefer']>>(
      'a name of a backend or a list of names',
      (value) => NAME.accepts(value) || NAMES.accepts(value),
    ),
  ),
  device: field.optional(DEVICE),
  gpu: field.optional(GPU_ENTRY),
  integerDot: field.optional(field.boolean),
  threads: field.optional(THREADS),
  wide: field.optional(field.boolean),
  workerUrl: field.optional(WORKER_URL),
  onFallback: field.optional(field.callback()),
  signal: field.optional(field.signal),
};

/**
 * The first backend that works here. Without `prefer`, WebGPU on a software adapter is passed over, because the wasm
 * backend is faster than a GPU that a CPU imitates; name 'webgpu' or give a device to have it all the same.
 * `backend.rejected` keeps the reasons.
 * @throws `no-backend` with all reasons when none works, `unknown-name` for a name nobody knows.
 */
export async function selectBackend(options: SelectOptions = {}): Promise<Backend> {
  field.checkFields('selectBackend', options, SELECT_FIELDS);
  const { prefer, device, onFallback, signal } = options;
  const names = prefer === undefined ? BACKEND_NAMES : typeof prefer === 'string' ? [prefer] : prefer;
  for (const name of names) if (!BACKEND_NAMES.includes(name)) throw unknownName('backend', name, BACKEND_NAMES);
  if (device !== undefined && !names.includes('webgpu'))
    throw invalidArgument('selectBackend', 'device', 'given', `absent with prefer ${names}`);
  const takesSoftware = prefer !== undefined || device !== undefined;
  const rejected: Rejection[] = [];
  const reject = (name: BackendName, reason: string) => {
    rejected.push({ name, reason });
    onFallback?.({ name, reason });
  };
  for (const name of names) {
    signal?.throwIfAborted();
    const missing: Rejection[] = []; // told when the backend is there, so that what `onFallback` throws is not taken for its failure
    let backend: Backend;
    try {
      backend = await create(name, options, { rejected, onFallback: (rejection) => missing.push(rejection) });
    } catch (error) {
      reject(name, error instanceof Error ? error.message : String(error));
      continue;
    }
    try {
      if (takesSoftware || !backend.features.has('software-adapter')) {
        for (const rejection of missing) onFallback?.(rejection);
        return backend;
      }
      reject(name, `${backend.description} is a software adapter, wasm is faster`);
    } catch (error) {
      await backend[Symbol.asyncDispose]();
      throw error;
    }
    await backend[Symbol.asyncDispose]();
  }
  const reasons = rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  throw new SkipVisionError('no-backend', `no backend works here: ${reasons || 'none was named'}`, {
    argument: 'prefer',
    expected: BACKEND_NAMES.join(', '),
  });
}

/** Backends are imported when they are tried, so that a bundle loads no kernels it does not run. */
async function create(
  name: BackendName,
  { device, gpu, integerDot, threads, workerUrl, wide }: SelectOptions,
  { rejected, onFallback }: { rejected: readonly Rejection[]; onFallback(rejection: Rejection): void },
): Promise<Backend> {
  switch (name) {
    case 'webgpu':
      return (await import('./webgpu/driver.ts')).createWebGpuBackend({ device, gpu, integerDot, rejected });
    case 'wasm':
      return (await import('./wasm/driver.ts')).createWasmBackend({ threads, workerUrl, wide, onFallback, rejected });
    case 'reference':
      return (await import('./reference/driver.ts')).createReferenceBackend({ rejected });
  }
}
