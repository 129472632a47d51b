/**
 * What an op declaration is: a frozen value with a signature, checks, a cost and one binding per backend. There is no
 * registry, so a bundler drops the ops nobody imports.
 */
import type { GpuBinding } from './webgpu/binding.ts';
import type { WasmBinding } from './wasm/binding.ts';
import type { ArrayOf, DType, FloatDType, Tensor } from './tensor.ts';
import type { Weight } from './weight.ts';

/** How a u32 operand is checked: `rows` strictly ascending, `positions` likewise but unbounded, `ids` in any order. */
export type IndexKind = 'rows' | 'positions' | 'ids';

export interface TensorOperand<Dim extends string = string, T extends DType = DType, Optional extends boolean = boolean> {
  kind: 'tensor';
  dtype: T;
  /** An f32 operand that may be f16 instead; see `orF16`. */
  orF16?: true;
  /** One name per axis, or '...' for any shape. A name stands for the same extent wherever it occurs. */
  dims: readonly Dim[];
  access: 'in' | 'out' | 'inout';
  optional: Optional;
  index?: IndexKind;
  /** Name of the dim that every entry of an index list must stay below. */
  below?: string;
}

export interface WeightOperand<Dim extends string = string, Optional extends boolean = boolean> {
  kind: 'weight';
  dims: readonly [N: Dim, K: Dim];
  parts?: 1 | 2;
  optional: Optional;
}

export type Operand = TensorOperand | WeightOperand;
export type Signature = Readonly<Record<string, Operand>>;

/** An f32 input with one dim name per axis. */
export function input<const D extends readonly string[]>(...dims: D): TensorOperand<D[number], 'f32', false> {
  return { kind: 'tensor', dtype: 'f32', dims, access: 'in', optional: false };
}
/** An f32 output; its old contents do not matter. */
export function output<const D extends readonly string[]>(...dims: D): TensorOperand<D[number], 'f32', false> {
  return { kind: 'tensor', dtype: 'f32', dims, access: 'out', optional: false };
}
/** A u32 output. */
export function indexOutput<const D extends readonly string[]>(...dims: D): TensorOperand<D[number], 'u32', false> {
  return { kind: 'tensor', dtype: 'u32', dims, access: 'out', optional: false };
}
/** An f32 operand that is changed in place. */
export function inout<const D extends readonly string[]>(...dims: D): TensorOperand<D[number], 'f32', false> {
  return { kind: 'tensor', dtype: 'f32', dims, access: 'inout', optional: false };
}
/** A row list: strictly ascending rows below `below`. Must come from `upload`, so that it can be checked. */
export function rowList<const D extends string>(dim: D, below: string): TensorOperand<D, 'u32', false> {
  return { kind: 'tensor', dtype: 'u32', dims: [dim], access: 'in', optional: false, index: 'rows', below };
}
/** Strictly ascending positions; gaps are fine. */
export function positionList<const D extends string>(dim: D): TensorOperand<D, 'u32', false> {
  return { kind: 'tensor', dtype: 'u32', dims: [dim], access: 'in', optional: false, index: 'positions' };
}
/** Indices below `below` in any order, repeats allowed. */
export function idList<const D extends string>(dim: D, below: string): TensorOperand<D, 'u32', false> {
  return { kind: 'tensor', dtype: 'u32', dims: [dim], access: 'in', optional: false, index: 'ids', below };
}
/** A packed matrix [N, K]; `parts` 2 for a gate and up pair. */
export function weight<const N extends string, const K extends string>(n: N, k: K, parts: 1 | 2 = 1): WeightOperand<N | K, false> {
  return { kind: 'weight', dims: [n, k], parts, optional: false };
}
/** A packed matrix of one or two parts. */
export function anyWeight<const N extends string, const K extends string>(n: N, k: K): WeightOperand<N | K, false> {
  return { kind: 'weight', dims: [n, k], optional: false };
}
/**
 * An f32 operand that may be stored as f16. All such operands of a call have one dtype, and the dim E is the bytes of their
 * elements: 4 or 2.
 */
export function orF16<D extends string>(operand: TensorOperand<D, 'f32', false>): TensorOperand<D | 'E', FloatDType, false> {
  return { ...operand, orF16: true };
}
export function optional<D extends string, T extends DType>(operand: TensorOperand<D, T>): TensorOperand<D, T, true> {
  return { ...operand, optional: true };
}

/** A signature as lists, in order. */
export interface SignatureLists {
  operands: readonly { name: string; operand: Operand; isWritten: boolean; axes: readonly number[] }[];
  /** The names that the `axes` of the operands are indices of; none for '...'. */
  dims: readonly string[];
}

const lists = new WeakMap<Signature, SignatureLists>();

/** Made once for a signature, as `run` needs it every time. */
export function listsOf(signature: Signature): SignatureLists {
  let made = lists.get(signature);
  if (!made) {
    const dims = [...new Set(Object.values(signature).flatMap((operand) => operand.dims))].filter((dim) => dim !== '...');
    const operands = Object.entries(signature).map(([name, operand]) => {
      const isWritten = operand.kind === 'tensor' && operand.access !== 'in';
      return { name, operand, isWritten, axes: operand.dims.map((dim) => dims.indexOf(dim)) };
    });
    made = { operands, dims };
    lists.set(signature, made);
  }
  return made;
}

type Value<O extends Operand> = O extends WeightOperand ? Weight : O extends TensorOperand<string, infer T> ? Tensor<T> : never;
type OptionalKeys<S extends Signature> = { [K in keyof S]: S[K]['optional'] extends true ? K : never }[keyof S];

/** The operands of a signature as the caller gives them. */
export type Io<S extends Signature> = { [K in Exclude<keyof S, OptionalKeys<S>>]: Value<S[K]> } & {
  [K in OptionalKeys<S>]?: Value<S[K]> | undefined;
};
export type DimsOf<S extends Signature> = { readonly [K in Exclude<S[keyof S]['dims'][number], '...'>]: number };

/** A packed weight as the reference backend sees it: [matrix] or [gate, up], each row-major [N, K]. */
export type ReferenceWeight = readonly Float32Array[];
type ReferenceValue<O extends Operand> = O extends WeightOperand
  ? ReferenceWeight
  : O extends TensorOperand<string, infer T>
    ? ArrayOf<T>
    : never;
/** Operands of a reference binding: typed arrays; absent optional ones are undefined. */
export type ReferenceIo<S extends Signature> = {
  [K in keyof S]: S[K]['optional'] extends true ? ReferenceValue<S[K]> | undefined : ReferenceValue<S[K]>;
};

export interface Cost {
  /** Floating-point operations: 2 per multiply-add of products; transcendental and copy work is not counted. */
  flops: number;
  /** Bytes that must move at least once: operands read plus outputs written. */
  bytes: number;
}

export interface CheckContext<S extends Signature, A> {
  io: Io<S>;
  dims: DimsOf<S>;
  attrs: A;
  /** Throws the coded error for `argument`. */
  fail(argument: string, got: unknown, expected: string): never;
}

export interface OpDefinition<S extends Signature, A extends object> {
  /** snake_case, the name the conformance cases use. */
  name: string;
  io: S;
  /** Names of the attributes; others are refused. */
  attrs: readonly (keyof A & string)[];
  /** What the signature cannot say. Runs after the signature's own checks. */
  check?(context: CheckContext<S, A>): void;
  cost(dims: DimsOf<S>, attrs: A, io: Io<S>): Cost;
  /** Plain loops with f64 accumulation: the specification of the op. */
  reference(io: ReferenceIo<S>, dims: DimsOf<S>, attrs: A): void;
  wasm: WasmBinding<S, A>;
  webgpu: GpuBinding<S, A>;
}

// biome-ignore lint/suspicious/noExplicitAny: an Op of unknown signature and attributes.
export type Op = OpDefinition<any, any>;
export type IoOf<O> = O extends OpDefinition<infer S, infer _A> ? Io<S> : never;
export type AttrsOf<O> = O extends OpDefinition<infer _S, infer A> ? A : never;

/** `defineOp<Attrs>()({ ... })`: attributes are named, the signature is inferred. */
export function defineOp<A extends object = Record<never, never>>() {
  return <const S extends Signature>(definition: OpDefinition<S, A>): Readonly<OpDefinition<S, A>> => Object.freeze(definition);
}
