import { BACKEND_NAMES, type Backend, type BackendName, type Rejection, type SignalOption } from './backend.ts';
import { invalidArgument, SkipVisionError, unknownName } from './errors.ts';
import { checkThreads } from './wasm/thread-count.ts';
import type { GpuDeviceLike, GpuLike } from './webgpu/device.ts';

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

/**
 * The first backend that works here. Without `prefer`, WebGPU on a software adapter is passed over, because the wasm
 * backend is faster than a GPU that a CPU imitates; name 'webgpu' or give a device to have it all the same.
 * `backend.rejected` keeps the reasons.
 * @throws `no-backend` with all reasons when none works, `unknown-name` for a name nobody knows.
 */
export async function selectBackend(options: SelectOptions = {}): Promise<Backend> {
  const { prefer, device, gpu, integerDot, threads, workerUrl, wide, onFallback, signal } = options;
  const names = prefer === undefined || prefer === null ? BACKEND_NAMES : typeof prefer === 'string' ? [prefer] : prefer;
  for (const name of names) if (!BACKEND_NAMES.includes(name)) throw unknownName('backend', name, BACKEND_NAMES);
  if (device !== undefined && !names.includes('webgpu'))
    throw invalidArgument('selectBackend', 'device', 'given', `absent with prefer ${names}`);
  if (threads !== undefined) checkThreads('selectBackend', threads);
  const takesSoftware = prefer !== undefined || device !== undefined;
  const rejected: Rejection[] = [];
  const reject = (name: BackendName, reason: string) => {
    rejected.push({ name, reason });
    onFallback?.({ name, reason });
  };
  for (const name of names) {
    signal?.throwIfAborted();
    try {
      const backend = await create(name, { device, gpu, integerDot, threads, workerUrl, wide, onFallback, rejected });
      if (!takesSoftware && backend.features.has('software-adapter')) {
        reject(name, `${backend.description} is a software adapter, wasm is faster`);
        await backend[Symbol.asyncDispose]();
        continue;
      }
      return backend;
    } catch (error) {
      reject(name, error instanceof Error ? error.message : String(error));
    }
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
  options: Omit<SelectOptions, 'prefer' | 'signal'> & { rejected: readonly Rejection[] },
): Promise<Backend> {
  switch (name) {
    case 'webgpu':
      return (await import('./webgpu/driver.ts')).createWebGpuBackend(options);
    case 'wasm':
      return (await import('./wasm/driver.ts')).createWasmBackend(options);
    case 'reference':
      return (await import('./reference/driver.ts')).createReferenceBackend(options);
    default:
      return name satisfies never;
  }
}
