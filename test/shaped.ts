/** Product ops on kernels of other shapes than those chosen for the adapter: for tests of all of them, and for sweeps. */
import type { GpuBinding } from '../src/backend/webgpu/binding.ts';
import type { AnyDefinition } from '../src/ops/types.ts';

/** Of a product kernel: tiles of NX x NY invocations of TM rows, or for few rows QUADS vec4 of columns shared by THREADS. */
export type Shape = Partial<Readonly<Record<'TM' | 'NX' | 'NY' | 'QUADS' | 'THREADS', number>>>;

/** The op as if tuning had chosen this shape for any number of rows. */
export function shaped<O extends { webgpu: GpuBinding<AnyDefinition> }>(op: O, shape: Shape): O {
  const shapes = { few: shape, some: shape, many: shape } as Record<string, Record<string, number>>;
  const webgpu: GpuBinding<AnyDefinition> = (gpu, io, dims, attrs) => op.webgpu({ ...gpu, shapes }, io, dims, attrs);
  return { ...op, webgpu };
}
