/** Kernels as ops hold them, and what is read off their WGSL. */
import { SkipVisionError } from '../errors.ts';

/**
 * WGSL in pieces: texts, and kernels of which this one is made. A `.wgsl` file is imported as one, made of what it includes. A kernel that is
 * dispatched has one compute entry point `main`, `Params` at `@binding(0)` and storage from `@binding(1)` on.
 */
export interface GpuKernel<Param extends string = string> {
  readonly name: string;
  readonly pieces: readonly (string | GpuKernel)[];
  /** Only the compiler knows them: the fields of `Params`. */
  readonly params?: Param;
}

/** The kernel behind one more piece, under a longer name. */
export function prefixed<Param extends string>(
  kernel: GpuKernel<Param>,
  piece: GpuKernel['pieces'][number],
  name: string,
): GpuKernel<Param> {
  return { name: `${kernel.name} ${name}`, pieces: [piece, kernel] };
}

/** All pieces of a kernel, each once, in their order. */
export function codeOf(kernel: GpuKernel, taken = new Set<GpuKernel>()): string {
  taken.add(kernel);
  const pieces = kernel.pieces.map((piece) => (typeof piece === 'string' ? piece : taken.has(piece) ? '' : codeOf(piece, taken)));
  return pieces.filter(Boolean).join('\n');
}

/** A field of `Params`, 4 bytes behind the one before. */
export interface ParamField {
  readonly name: string;
  readonly isFloat: boolean;
}

/** The fields of `struct Params`; none where there is no such struct. */
export function paramsOf(kernel: string, code: string): ParamField[] {
  const fields = /\bstruct Params\s*\{([^}]*)\}/.exec(code.replace(COMMENTS, ''))?.[1] ?? '';
  const found = fields.split(',').map((field) => field.trim());
  return found.filter(Boolean).map((field) => {
    const [, name, type] = /^(\w+)\s*:\s*(u32|f32)$/.exec(field) ?? [];
    if (!name) throw refusal(kernel, `"${field}" of Params is no u32 and no f32`);
    return { name, isFloat: type === 'f32' };
  });
}

/** Access of storage operand i, which is binding 1 + i. */
export type Access = 'read' | 'read_write';

/** For explicit layouts: an automatic one drops the bindings that a kernel happens not to use, and then refuses the bind group. */
export function accessOf(kernel: string, code: string): Access[] {
  const access: Access[] = [];
  for (const match of code.replace(COMMENTS, '').matchAll(STORAGE)) {
    access[Number(match[1]) - 1] = match[2] === 'read_write' ? 'read_write' : 'read';
  }
  const missing = Array.from(access).findIndex((each) => !each);
  if (missing >= 0) throw refusal(kernel, `no @group(0) @binding(${1 + missing}) var<storage> is declared`);
  return access;
}

const COMMENTS = /\/\/.*/g;
const STORAGE = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage\s*(?:,\s*(read_write|read))?\s*>/g;

export function refusal(kernel: string, message: string): SkipVisionError {
  return new SkipVisionError('backend-failed', `kernel ${kernel}: ${message}`, { op: `kernel ${kernel}` });
}
