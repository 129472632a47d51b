import type { DimsOf, Signature, WeightOperand } from '../op.ts';

/** The exports of the kernel binary: plain numbers in (pointers are byte addresses), numbers or nothing out. */
export type WasmKernels = Readonly<Record<string, (...args: number[]) => number>>;

/**
 * A packed weight [N, K]: panels of 8 lanes, `panel[k][lane]`, one after the other; padding lanes are zero. With one
 * part lane j of panel p is output 8p + j; with two parts lanes 0-3 are gate and 4-7 up of the outputs 4p .. 4p + 3.
 */
export interface WasmWeight {
  readonly pointer: number;
  readonly parts: 1 | 2;
}

/** What an op's Wasm binding may use besides its operands. */
export interface WasmContext {
  readonly kernels: WasmKernels;
  /** Rows that packed A interleaves (see pack_rows_f32): what the faster matrix tile of this engine takes. */
  readonly group: 4 | 6;
  /** Uninitialised linear memory until the op returns, 64-byte aligned. Ask for all of it before writing any output. */
  scratch(bytes: number): number;
  /** Copies a list of u32 into scratch memory. */
  u32(values: ArrayLike<number>): number;
}

/** Operands by name: tensors as addresses of their first byte, 0 where an optional one is absent; weights as they were packed. */
export type WasmIo<S extends Signature> = { readonly [K in keyof S]: S[K] extends WeightOperand ? WasmWeight : number };

export type WasmBinding<S extends Signature, A> = (wasm: WasmContext, io: WasmIo<S>, dims: DimsOf<S>, attrs: A) => void;
