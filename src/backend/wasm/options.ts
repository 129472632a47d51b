/** What a wasm backend is made from; apart from the driver, as `selectBackend` hands some of it on without loading a backend. */
import { BACKEND, REJECTED_OPTION, type Rejection } from '../backend.ts';
import * as field from '../fields.ts';
import type { BinaryOptions, TileRows } from './binary.ts';
import type { ThreadOptions } from './threads.ts';

export interface WasmBackendOptions extends BinaryOptions, ThreadOptions {
  /** Told why there is one thread where more were asked for, and why there are no 256-bit products where they were. */
  onFallback?(rejection: Rejection): void;
  rejected?: readonly Rejection[];
}

export const THREADS = field.integer({ min: 1, max: 64 });
export const WORKER_URL = field.anything<string | URL>('a string or a URL', (value) => typeof value === 'string' || value instanceof URL);
const isModule = (value: unknown) => typeof WebAssembly === 'object' && value instanceof WebAssembly.Module;
export const WASM_BACKEND_FIELDS: field.Fields<WasmBackendOptions> = {
  variant: field.optional(field.oneOf('auto', 'simd128', 'relaxed')),
  wasmModule: field.optional(field.anything<WebAssembly.Module>('a WebAssembly.Module', isModule)),
  tileRows: field.optional(field.anything<TileRows | 'auto'>('4, 6 or auto', (value) => value === 4 || value === 6 || value === 'auto')),
  wide: field.optional(field.boolean),
  threads: field.optional(THREADS),
  workerUrl: field.optional(WORKER_URL),
  shareFrom: field.optional(field.number({ min: 0 })),
  onFallback: field.optional(field.callback()),
  ...REJECTED_OPTION,
};
export const WASM_MEMORY_OF_FIELDS = { backend: BACKEND };
