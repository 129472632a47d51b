/**
 * What an op is: a definition (signature, checks, cost) and a binding for each backend that can run it. There is no registry, and the
 * parts are values of their own, so a bundler drops the ops and the bindings that nobody imports.
 */
import type { Fields } from './fields.ts';
import type { ArrayOf, DType, FloatDType, Tensor } from './tensor.ts';
import type { Weight } from './weight.ts';

/** What a u32 operand must be or, where the op writes it, is: `rows` and `positions` ascend strictly, `ids` have any order. */
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
  /** Name of the dim that every entry of an index list is below. */
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
/** An f32 operand that is changed in place. */
export function inout<const D extends readonly string[]>(...dims: D): TensorOperand<D[number], 'f32', false> {
  return { kind: 'tensor', dtype: 'f32', dims, access: 'inout', optional: false };
}
/** A row list: strictly ascending rows below `below`. From `upload`, so that it can be checked, or from an op that promises them. */
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
/** A list as a result: the op promises that it is as declared, so that other ops take it unread. */
export function written<D extends string>(list: TensorOperand<D, 'u32', false>): TensorOperand<D, 'u32', false> {
  return { ...list, access: 'out' };
}
/** A packed matrix [N, K]. */
export function weight<const N extends string, const K extends string>(n: N, k: K): WeightOperand<N | K, false> {
  return { kind: 'weight', dims: [n, k], parts: 1, optional: false };
}
/** A packed matrix, or a gate and up pair. */
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

/** An operand with its name. `axes`: for each axis the index of its name in `dims` of the lists, -1 for '...'. */
interface NamedOperand {
  readonly name: string;
  readonly operand: Operand;
  readonly axes: readonly number[];
  readonly isWritten: boolean;
}

/** A signature as lists, in order. */
export interface SignatureLists {
  readonly operands: readonly NamedOperand[];
  /** Those that the op writes. */
  readonly written: readonly NamedOperand[];
  /** Lists of indices among them. */
  readonly promised: readonly NamedOperand[];
  /** Lists of indices that it reads. */
  readonly indices: readonly NamedOperand[];
  readonly dims: readonly string[];
}

const lists = /* @__PURE__ */ new WeakMap<Signature, SignatureLists>();

/** Made once for a signature, as `run` needs it every time. */
export function listsOf(signature: Signature): SignatureLists {
  let made = lists.get(signature);
  if (!made) {
    const dims = [...new Set(Object.values(signature).flatMap((operand) => operand.dims))].filter((dim) => dim !== '...');
    const operands = Object.entries(signature).map(([name, operand]) => {
      const isWritten = operand.kind === 'tensor' && operand.access !== 'in';
      return { name, operand, axes: operand.dims.map((dim) => dims.indexOf(dim)), isWritten };
    });
    const written = operands.filter(({ isWritten }) => isWritten);
    const isList = ({ operand }: NamedOperand) => operand.kind === 'tensor' && operand.index !== undefined;
    const indices = operands.filter((each) => isList(each) && !each.isWritten);
    made = { operands, written, promised: written.filter(isList), indices, dims };
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

/** Throws the coded error for `argument`. */
export type Fail = (argument: string, got: unknown, expected: string) => never;

export interface CheckContext<S extends Signature, A> {
  io: Io<S>;
  dims: DimsOf<S>;
  attrs: A;
  fail: Fail;
}

export interface OpDefinition<S extends Signature, A extends object> {
  /** snake_case, the name the conformance cases use. */
  name: string;
  io: S;
  /** What each attribute must be; others are refused. @internal */
  attrs: Fields<A>;
  /** What signature and attributes cannot say one by one. Runs after their own checks. @internal */
  check?(context: CheckContext<S, A>): void;
  cost(dims: DimsOf<S>, attrs: A, io: Io<S>): Cost;
}

// biome-ignore lint/suspicious/noExplicitAny: of unknown signature and attributes.
export type AnyDefinition = OpDefinition<any, any>;

/** Plain loops with f64 accumulation: the specification of the op. */
export type ReferenceBinding<D extends AnyDefinition> =
  D extends OpDefinition<infer S, infer A> ? (io: ReferenceIo<S>, dims: DimsOf<S>, attrs: A) => void : never;

export type IoOf<O> = O extends { definition: OpDefinition<infer S, infer _A> } ? Io<S> : never;
export type AttrsOf<O> = O extends { definition: OpDefinition<infer _S, infer A> } ? A : never;

/** `defineOp<Attrs>()({ ... })`: attributes are named, the signature is inferred. */
export function defineOp<A extends object = Record<never, never>>() {
  return <const S extends Signature>(definition: OpDefinition<S, A>): Readonly<OpDefinition<S, A>> => Object.freeze(definition);
}
