/** Calls of the matrix product kernels: row blocks that bound the scratch memory, column chunks that bound a call. */
import type { WasmContext } from './binding.ts';

/** Packed A holds at most this many rows at a time. More rows a block mean fewer passes over the weights. */
const BLOCK_ROWS = 192;
/**
 * Lanes per kernel call. A running Wasm loop stays in the engine's baseline code until it returns, so the first product
 * after loading would take twice as long in one call. A multiple of 32, the widest tile.
 */
const CHUNK = 256;

/** The kernels' own scratch: one tile. */
export const TILE_BYTES = 128;

/** Splits `rows` into blocks of nearly the same size, each but the last a multiple of 4. */
export function rowBlocks(rows: number): readonly { first: number; count: number }[] {
  const blocks = Math.ceil(rows / BLOCK_ROWS);
  const size = blocks ? Math.ceil(rows / blocks / 4) * 4 : 0;
  return Array.from({ length: blocks }, (_, i) => ({ first: i * size, count: Math.min(size, rows - i * size) }));
}

/** Bytes of packed A for the largest block of `rows` rows of K columns. */
export function packedBytes(rows: number, K: number): number {
  return Math.ceil(Math.min(rows, Math.ceil(rows / Math.ceil(rows / BLOCK_ROWS || 1) / 4) * 4) / 4) * 16 * K;
}

/** `y[outRows[r]] = or += rowGate[r] * act(A W^T + bias)`; addresses, 0 where absent. See matmul_f32. */
export interface Product {
  tile: number;
  a: number;
  /** Columns of packed A, at least K. */
  aColumns: number;
  rows: number;
  K: number;
  weight: number;
  N: number;
  y: number;
  outRows: number;
  bias: number;
  activation: number;
  accumulate: boolean;
  rowGate: number;
}

export function product({ kernels }: WasmContext, p: Product): void {
  for (let n = 0; n < p.N; n += CHUNK) {
    kernels.matmul_f32!(
      p.tile, p.a, p.aColumns * 16, p.rows, p.K, p.weight + n * p.K * 4, Math.min(CHUNK, p.N - n),
      p.y + n * 4, p.N * 4, p.outRows, p.bias && p.bias + n * 4, p.activation, Number(p.accumulate), p.rowGate,
    );
  }
}

/** `out = act(gate) * up` or `act(up)` as packed A of M (rounded up to 4) columns. See matmul_inner_f32. */
export interface InnerProduct {
  tile: number;
  a: number;
  rows: number;
  K: number;
  weight: number;
  parts: 1 | 2;
  M: number;
  out: number;
  gateBias: number;
  upBias: number;
  activation: number;
}

export function innerProduct({ kernels }: WasmContext, p: InnerProduct): void {
  const lanes = Math.ceil((p.M * p.parts) / 8) * 8;
  for (let n = 0; n < lanes; n += CHUNK) {
    const m = n / p.parts;
    kernels.matmul_inner_f32!(
      p.tile, p.a, p.K * 16, p.rows, p.K, p.weight + n * p.K * 4, Math.min(CHUNK, lanes - n), p.M - m, p.parts - 1,
      p.out + m * 16, innerColumns(p.M) * 16, p.gateBias && p.gateBias + m * 4, p.upBias && p.upBias + m * 4, p.activation,
    );
  }
}

export function innerColumns(M: number): number {
  return Math.ceil(M / 4) * 4;
}
