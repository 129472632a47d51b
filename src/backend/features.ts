export type BackendName = 'reference' | 'wasm' | 'webgpu';
export const BACKEND_NAMES: readonly BackendName[] = ['webgpu', 'wasm', 'reference'];

export type Feature =
  | 'simd'
  | 'relaxed-simd'
  | 'wide-simd'
  | 'threads'
  | 'shader-f16'
  | 'subgroups'
  | 'timestamp-query'
  | 'integer-dot-product'
  | 'software-adapter';

/** The backend that a tensor or a weight belongs to, as these know it: no more than which one it is. */
export interface Owner {
  readonly name: BackendName;
}
