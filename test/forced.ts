/** A product op on kernels and tiles that are not those chosen for this adapter: for tests of all of them, and for sweeps. */
import type { GpuContext } from '../src/backend/webgpu/binding.ts';
import { gatheredFfn } from '../src/ops/gathered-ffn.ts';
import { linear } from '../src/ops/linear.ts';

/** Overrides of a product kernel: tiles of NX x NY threads of TM rows, or for few rows QUADS vec4 of columns shared by THREADS. */
export type Overrides = Partial<Readonly<Record<'TM' | 'NX' | 'NY' | 'QUADS' | 'THREADS', number>>>;

/** Result rows of a thread of the tiled kernels for int8 rows; see kernels/int8.tile.wgsl. */
const INTEGERS_TM = 4;

/** The op as on a GPU, with these overrides where a kernel has them, and as many workgroups as they need. */
export function forcedLinear(overrides: Overrides): typeof linear {
  return { ...linear, webgpu: (gpu, io, dims, attrs) => linear.webgpu(forced(gpu, overrides, { linear: dims.N }), io, dims, attrs) };
}

export function forcedFfn(overrides: Overrides): typeof gatheredFfn {
  return {
    ...gatheredFfn,
    webgpu: (gpu, io, dims, attrs) =>
      gatheredFfn.webgpu(forced(gpu, overrides, { 'gathered-ffn': dims.M, linear: dims.D }), io, dims, attrs),
  };
}

/** `columns`: of the results of each kernel, whose weights must be in one slice. */
function forced(gpu: GpuContext, overrides: Overrides, columns: Readonly<Record<string, number>>): GpuContext {
  const features = new Set([...gpu.features].filter((feature) => feature !== 'software-adapter'));
  const dispatch: GpuContext['dispatch'] = (kernel, operands, params, workgroups, constants = {}) => {
    const name = kernel.name.split(' ')[0]!; // without the dtype of the weight
    if (name.endsWith('.direct')) throw new Error(`${kernel.name} is no kernel for GPUs`);
    const quads = Math.ceil(columns[name.split('.')[0]!]! / 4);
    const { NX, NY, QUADS, THREADS } = { ...constants, ...overrides };
    if (NX && NY && 'NX' in constants) {
      const rows = params[0] as number;
      const TM = constants.TM && (overrides.TM ?? constants.TM);
      const workgroups = [Math.ceil(quads / NX), Math.ceil(rows / (NY * (TM ?? INTEGERS_TM)))] as const;
      gpu.dispatch(kernel, operands, params, workgroups, { ...constants, ...(TM && { TM }), NX, NY });
    } else if (QUADS && 'QUADS' in constants) {
      gpu.dispatch(kernel, operands, params, [Math.ceil(quads / QUADS)], { ...constants, QUADS, ...(THREADS && { THREADS }) });
    } else gpu.dispatch(kernel, operands, params, workgroups, constants);
  };
  return { ...gpu, features, dispatch };
}
