import type { AnyDefinition, ReferenceBinding } from './op.ts';
import type { WasmBinding } from './wasm/binding.ts';
import type { GpuBinding } from './webgpu/binding.ts';

/** With `Op` the types that an op's file names. */
export type { GpuBinding, ReferenceBinding, WasmBinding };

/** What `backend.run` takes: a definition with at least the binding of that backend. */
export interface Op<D extends AnyDefinition = AnyDefinition> {
  readonly definition: D;
  readonly reference?: ReferenceBinding<D>;
  readonly wasm?: WasmBinding<D>;
  readonly webgpu?: GpuBinding<D>;
}
