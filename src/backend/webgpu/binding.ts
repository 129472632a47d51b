import type { Feature } from '../backend.ts';
import type { DimsOf, Signature, WeightOperand } from '../op.ts';
import type { TypedArray } from '../tensor.ts';
import type { WeightDType } from '../weight.ts';

/** A WGSL module with one compute entry point `main`. */
export interface GpuKernel {
  name: string;
  code: string;
}

/** A range of a GPU buffer. Opaque to ops: they pass it on to `dispatch`. */
export interface GpuOperand {
  readonly buffer: unknown;
  readonly bytes: number;
}

/** Columns [first, first + count) of a packed weight: a matrix of its own. */
export interface GpuWeightSlice {
  /** See pack.ts. */
  readonly operand: GpuOperand;
  readonly first: number;
  readonly count: number;
}

/** A packed weight. More than one slice where it is larger than a binding may be: one dispatch for each. */
export interface GpuWeight {
  readonly slices: readonly GpuWeightSlice[];
  readonly parts: 1 | 2;
  readonly dtype: WeightDType;
  /** Whether zeros of 4-bit codes are stored. */
  readonly zeros: boolean;
}

/** A field of a kernel's `Params` struct: plain numbers are u32, `f32(x)` is a float. */
export type GpuParam = number | { readonly f32: number };
export function f32(value: number): GpuParam {
  return { f32: value };
}

/** The constant by which a kernel knows operands that may be f16, of E bytes to a number. */
export function perWord(E: number): { PER_WORD: number } {
  return { PER_WORD: 4 / E };
}

/** Constants of the product kernels, by how many rows they multiply. Without: what suits most adapters. */
export type Shapes = Readonly<Partial<Record<'few' | 'some' | 'many', Readonly<Record<string, number>>>>>;

/** What an op's WebGPU binding may use besides its operands. */
export interface GpuContext {
  readonly features: ReadonlySet<Feature>;
  /** Of the adapter, in lower case: nvidia, amd, intel, apple, ..., or its PCI id. Empty where it does not tell. */
  readonly vendor: string;
  readonly shapes: Shapes;
  /**
   * Enqueues one dispatch. In the kernel `@group(0) @binding(0)` is the uniform `Params` struct made of `params` in
   * order, and `@binding(1 + i)` is operand i; an absent operand is bound to a dummy buffer. `workgroups` is a count
   * that may exceed 65,535 in x: the kernel's flat id is `workgroup_id.x + workgroup_id.y * num_workgroups.x`, and it
   * returns early past the end. Nothing is enqueued when a count is 0.
   */
  dispatch(
    kernel: GpuKernel,
    operands: readonly (GpuOperand | undefined)[],
    params: readonly GpuParam[],
    workgroups: readonly [x: number, y?: number, z?: number],
    constants?: Readonly<Record<string, number>>,
  ): void;
  /** A buffer with undefined contents that returns to the pool once the op's work was submitted. */
  scratch(bytes: number): GpuOperand;
  /** A scratch buffer filled with `data`. */
  upload(data: TypedArray): GpuOperand;
}

type GpuValue<O> = O extends WeightOperand ? GpuWeight : GpuOperand;
/** Operands by name; undefined where an optional one is absent. */
export type GpuIo<S extends Signature> = {
  readonly [K in keyof S]: S[K]['optional'] extends true ? GpuValue<S[K]> | undefined : GpuValue<S[K]>;
};

export type GpuBinding<S extends Signature, A> = (gpu: GpuContext, io: GpuIo<S>, dims: DimsOf<S>, attrs: A) => void;
