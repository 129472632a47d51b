import type { DimsOf, Signature } from '../op.ts';

/** The exports of the kernel binary: plain numbers in (pointers are byte addresses), numbers or nothing out. */
export type WasmKernels = Readonly<Record<string, (...args: number[]) => number>>;

/** What an op's Wasm binding may use besides its operands. */
export interface WasmContext {
  readonly kernels: WasmKernels;
  /** Uninitialised linear memory until the op returns, 16-byte aligned. */
  scratch(bytes: number): number;
  /** Copies a list of u32 into scratch memory. */
  u32(values: ArrayLike<number>): number;
}

/** Operands by name as addresses of their first byte; 0 where an optional one is absent. */
export type WasmIo<S extends Signature> = { readonly [K in keyof S]: number };

export type WasmBinding<S extends Signature, A> = (wasm: WasmContext, io: WasmIo<S>, dims: DimsOf<S>, attrs: A) => void;
