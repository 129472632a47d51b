import type { Feature } from '../features.ts';
import type { AnyDefinition, DimsOf, OpDefinition, Signature, WeightOperand } from '../op.ts';
import type { TypedArray } from '../tensor.ts';
import type { WeightDType } from '../weight.ts';
import type { GpuKernel } from './kernel.ts';

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

/** The constant by which a kernel knows operands that may be f16, of E bytes to a number. */
export function perWord(E: number): { PER_WORD: number } {
  return { PER_WORD: 4 / E };
}

/** Invocations of a workgroup of the kernels whose invocations are independent: their `THREADS`. */
const ELEMENT_THREADS = 64;

/** Workgroups for one invocation per element. */
export function elementGroups(elements: number): [number] {
  return [Math.ceil(elements / ELEMENT_THREADS)];
}

/** Values of a kernel's `override` constants, by name. */
export type Constants = Readonly<Record<string, number>>;

/** Constants that tuning chose, by names on which it agrees with the ops that take them. */
export type Shapes = Readonly<Record<string, Constants | undefined>>;

/** The fields of a kernel's `Params`. */
export type GpuParams<Param extends string = string> = Readonly<Record<Param, number | boolean>>;

/** What an op's WebGPU binding may use besides its operands. */
export interface GpuContext {
  readonly features: ReadonlySet<Feature>;
  /** Of the adapter, in lower case: nvidia, amd, intel, apple, ..., or its PCI id. Empty where it does not tell. */
  readonly vendor: string;
  /** Empty without tuning. */
  readonly shapes: Shapes;
  /**
   * Enqueues one dispatch. In the kernel `@group(0) @binding(0)` is its uniform `Params`, every field of which `params` names, and
   * `@binding(1 + i)` is operand i; an absent operand is bound to a dummy buffer. A field is u32, of which true is 1, or f32.
   * `workgroups` is a count that may exceed 65,535 in x: the kernel's flat id is `workgroup_id.x + workgroup_id.y * num_workgroups.x`, and it
   * returns early past the end. Nothing is enqueued when a count is 0.
   */
  dispatch<Param extends string>(
    kernel: GpuKernel<Param>,
    operands: readonly (GpuOperand | undefined)[],
    params: GpuParams<NoInfer<Param>>,
    workgroups: readonly [x: number, y?: number, z?: number],
    constants?: Constants,
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

export type GpuBinding<D extends AnyDefinition> =
  D extends OpDefinition<infer S, infer A> ? (gpu: GpuContext, io: GpuIo<S>, dims: DimsOf<S>, attrs: A) => void : never;
