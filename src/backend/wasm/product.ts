/** Calls of the matrix product kernels: row blocks that bound the scratch memory, column chunks that bound a call. */
import type { WasmContext, WasmWeight } from './binding.ts';

/** Packed A holds at most this many rows at a time; a multiple of both groups. More rows mean fewer passes over the weights. */
const BLOCK_ROWS = 264;
/**
 * Lanes per kernel call. A running Wasm loop stays in the engine's baseline code until it returns, so the first product
 * after loading would take twice as long in one call. A multiple of 32, the widest tile.
 */
const CHUNK = 256;

/** The kernels' own scratch: the sums of one tile. */
export const TILE_BYTES = 192;

export interface RowBlock {
  first: number;
  count: number;
}

/** Splits `rows` into blocks of nearly the same size, each but the last a multiple of 12 and so of every group. */
export function rowBlocks(rows: number): readonly RowBlock[] {
  const size = blockRows(rows);
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({ first: i * size, count: Math.min(size, rows - i * size) }));
}

/** Bytes of packed A that hold any block of `rows` rows of K columns, filler rows included. */
export function packedBytes(rows: number, K: number): number {
  return (Math.min(rows, blockRows(rows)) + 3) * K * 4;
}

function blockRows(rows: number): number {
  const blocks = Math.max(1, Math.ceil(rows / BLOCK_ROWS));
  return Math.max(12, Math.ceil(rows / blocks / 12) * 12);
}

/** `y[outRows[r]] = or += rowGate[r] * act(A W^T + bias)`; addresses, 0 where absent. See matmul_f32. */
export interface Product {
  /** TILE_BYTES of scratch. */
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

export function product({ kernels, group }: WasmContext, p: Product): void {
  const aStride = p.aColumns * group * 4;
  for (let n = 0; n < p.N; n += CHUNK) {
    const bias = p.bias && p.bias + n * 4;
    const weight = p.weight + n * p.K * 4;
    const columns = Math.min(CHUNK, p.N - n);
    const y = p.y + n * 4;
    kernels.matmul_f32!(
      p.tile,
      p.a,
      aStride,
      p.rows,
      group,
      p.K,
      weight,
      columns,
      y,
      p.N * 4,
      p.outRows,
      bias,
      p.activation,
      Number(p.accumulate),
      p.rowGate,
    );
  }
}

/** `out = act(gate) * up` or `act(up)` as packed A of `innerColumns(M)` columns. See matmul_inner_f32. */
export interface InnerProduct {
  tile: number;
  a: number;
  rows: number;
  K: number;
  weight: WasmWeight;
  M: number;
  out: number;
  gateBias: number;
  upBias: number;
  activation: number;
}

export function innerProduct({ kernels, group }: WasmContext, p: InnerProduct): void {
  const { pointer, parts } = p.weight;
  const aStride = p.K * group * 4;
  const outStride = innerColumns(p.M) * group * 4;
  const lanes = Math.ceil((p.M * parts) / 8) * 8;
  for (let n = 0; n < lanes; n += CHUNK) {
    const m = n / parts;
    const weight = pointer + n * p.K * 4;
    const columns = Math.min(CHUNK, lanes - n);
    const gated = parts - 1;
    kernels.matmul_inner_f32!(
      p.tile,
      p.a,
      aStride,
      p.rows,
      group,
      p.K,
      weight,
      columns,
      m,
      p.M,
      gated,
      p.out,
      outStride,
      p.gateBias,
      p.upBias,
      p.activation,
    );
  }
}

/** The inner product is written four columns at a time. */
export function innerColumns(M: number): number {
  return Math.ceil(M / 4) * 4;
}
