import type { WasmKernels } from '../../../build/wasm/kernels.d.ts';
import type { AnyDefinition, DimsOf, OpDefinition, Signature, WeightOperand } from '../op.ts';

/** The exports of the kernel binary: plain numbers in (pointers are byte addresses), numbers or nothing out. */
export type { WasmKernels };

/** Layout of a packed weight: see assembly/weight-form.ts. */
export const FORM = { f32: 0, f16: 1, q8: 2, q4: 3, q4Zeros: 4 } as const;
/** Added to the form of a weight that has infinities or NaN among its f16: kernels then take the slower path that knows them. */
export const SPECIAL = 8;
/** From this bit of the form on stands how many powers of two the weight's f16 were raised by, above the subnormal ones. */
export const RAISED = 8;
/** Added to FORM.f32 for a product on 256-bit vectors. */
export const WIDE = 16;
export type Form = (typeof FORM)[keyof typeof FORM];

/**
 * A packed weight [N, K]: panels of 8 lanes one after the other, in f32 `panel[k][lane]`; padding lanes are zero. With one
 * part lane j of panel p is output 8p + j; with two parts lanes 0-3 are gate and 4-7 up of the outputs 4p .. 4p + 3.
 */
export interface WasmWeight {
  readonly pointer: number;
  readonly parts: 1 | 2;
  readonly form: Form;
  /** `form` with what its f16 add to it for products: SPECIAL, or the powers of two at RAISED. */
  readonly productForm: number;
}

/**
 * Calls of one kernel that write disjoint memory, so that threads may share them: an element of the result is computed by one
 * call, in the same order whichever thread runs it.
 */
export interface SharedCalls<Kernel extends keyof WasmKernels> {
  kernel: Kernel;
  calls: number;
  /** Multiply-adds of all calls together. */
  work: number;
  args(call: number): Parameters<WasmKernels[Kernel]>;
  /** Which argument is scratch memory of the thread that runs the call. */
  own: ThreadScratch & { argument: number };
}

/** Scratch memory of its own for every thread: `pointer` is the first one's, `stride` the bytes to the next. */
export interface ThreadScratch {
  readonly pointer: number;
  readonly stride: number;
}

/** What an op's Wasm binding may use besides its operands. */
export interface WasmContext {
  /** Exports of the binary. @internal */
  readonly kernels: WasmKernels;
  /** Rows that packed A interleaves (see pack_rows_f32): what the faster matrix tile of this engine takes. */
  readonly group: 4 | 6;
  /** Whether products of f32 weights run on 256-bit vectors. */
  readonly wide: boolean;
  /** Uninitialised linear memory until the op returns, 64-byte aligned. Ask for all of it before writing any output. */
  scratch(bytes: number): number;
  /** The same once for every thread. @internal */
  ownScratch(bytes: number): ThreadScratch;
  /** Threads that `share` has, this one included. @internal */
  readonly threads: number;
  /** Multiply-adds from which calls are shared. @internal */
  readonly shareFrom: number;
  /** Returns when all calls have run. Argument `own.argument` is `own.pointer`, given by `args` as any other. @internal */
  share<Kernel extends keyof WasmKernels>(calls: SharedCalls<Kernel>): void;
  /** Copies a list of u32 into scratch memory. */
  u32(values: ArrayLike<number>): number;
}

/** Operands by name: tensors as addresses of their first byte, 0 where an optional one is absent; weights as they were packed. */
export type WasmIo<S extends Signature> = { readonly [K in keyof S]: S[K] extends WeightOperand ? WasmWeight : number };

export type WasmBinding<D extends AnyDefinition> =
  D extends OpDefinition<infer S, infer A> ? (wasm: WasmContext, io: WasmIo<S>, dims: DimsOf<S>, attrs: A) => void : never;
