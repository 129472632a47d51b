/** Calls of the matrix product kernels: row blocks that bound the scratch memory, column chunks that bound a call. */
import { FORM, SPECIAL, type WasmContext, type WasmWeight } from './binding.ts';

/** Packed A holds at most this many rows at a time; a multiple of both groups. More rows mean fewer passes over the weights. */
const BLOCK_ROWS = 264;
/**
 * Lanes per kernel call. A running Wasm loop stays in the engine's baseline code until it returns, so the first product
 * after loading would take twice as long in one call. A multiple of 32, the widest tile.
 */
const CHUNK = 256;

/** The kernels' own scratch: the sums of one tile. An unpacked panel stands behind it. */
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

/** Bytes that hold any block of `rows` rows of `rowBytes`, filler rows of packed A included. */
export function packedBytes(rows: number, rowBytes: number): number {
  return (Math.min(rows, blockRows(rows)) + 3) * rowBytes;
}

function blockRows(rows: number): number {
  const blocks = Math.max(1, Math.ceil(rows / BLOCK_ROWS));
  return Math.max(12, Math.ceil(rows / blocks / 12) * 12);
}

/** Whether A is packed as int8 for this weight. */
export function isInteger({ form }: WasmWeight): boolean {
  return form >= FORM.q8;
}

/** Scratch of the products with a weight of K columns. */
export interface ProductScratch {
  tile: number;
  /** Packed A. */
  a: number;
  /** One row that is on its way to int8, where A is packed so. */
  row: number;
}

export function productScratch({ kernels, scratch }: WasmContext, weight: WasmWeight, rows: number, K: number): ProductScratch {
  return {
    tile: scratch(TILE_BYTES + kernels.unpacked_bytes!(weight.form, K)),
    a: scratch(packedBytes(rows, kernels.row_bytes!(weight.form, K))),
    row: isInteger(weight) ? scratch(Math.ceil(K / 32) * 128) : 0,
  };
}

/** Rows of x, normalised or not, as packed A for products with `weight`. */
export interface RowsOfA extends ProductScratch {
  weight: WasmWeight;
  x: number;
  /** Bytes from a row of x to the next where that is not K floats; only for a weight with isInteger. */
  stride?: number;
  /** Row list, 0 for the first `count` rows. */
  list: number;
  count: number;
  K: number;
  norm?: { kind: 'rms' | 'layer'; eps: number; weight: number; bias: number };
}

export function packRows({ kernels, group }: WasmContext, { weight, a, row, x, list, count, K, norm, stride = K * 4 }: RowsOfA): void {
  if (isInteger(weight)) {
    const kind = norm ? 1 + Number(norm.kind === 'layer') : 0;
    kernels.pack_rows_i8!(a, x, stride, list, count, K, group, weight.form, row, kind, norm?.eps ?? 0, norm?.weight ?? 0, norm?.bias ?? 0);
  } else if (norm) {
    kernels.pack_normed_rows_f32!(a, x, list, count, K, group, Number(norm.kind === 'layer'), norm.eps, norm.weight, norm.bias);
  } else {
    kernels.pack_rows_f32!(a, x, list, count, K, group);
  }
}

/** `y[outRows[r]] = or += rowGate[r] * act(A W^T + bias)`; addresses, 0 where absent. See matmul. */
export interface Product {
  tile: number;
  a: number;
  /** Columns of packed f32 A where there are more than K. */
  aColumns?: number;
  rows: number;
  K: number;
  weight: WasmWeight;
  N: number;
  y: number;
  outRows: number;
  bias: number;
  activation: number;
  accumulate: boolean;
  rowGate: number;
}

export function product({ kernels, group }: WasmContext, p: Product): void {
  const { pointer, form, special } = p.weight;
  const aStride = kernels.row_bytes!(form, p.aColumns ?? p.K) * group;
  const panel = kernels.panel_bytes!(form, p.K);
  for (let n = 0; n < p.N; n += CHUNK) {
    const bias = p.bias && p.bias + n * 4;
    const weight = pointer + (n / 8) * panel;
    const columns = Math.min(CHUNK, p.N - n);
    const y = p.y + n * 4;
    kernels.matmul!(
      special ? form + SPECIAL : form,
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

/** `out = act(gate) * up` or `act(up)`: packed f32 A of `innerColumns(M)` columns, or rows of them. See matmul_inner. */
export interface InnerProduct {
  tile: number;
  a: number;
  rows: number;
  K: number;
  weight: WasmWeight;
  M: number;
  out: number;
  rowMajor: boolean;
  gateBias: number;
  upBias: number;
  activation: number;
}

export function innerProduct({ kernels, group }: WasmContext, p: InnerProduct): void {
  const { pointer, parts, form, special } = p.weight;
  const aStride = kernels.row_bytes!(form, p.K) * group;
  const panel = kernels.panel_bytes!(form, p.K);
  const outStride = innerColumns(p.M) * 4 * (p.rowMajor ? 1 : group);
  const lanes = Math.ceil((p.M * parts) / 8) * 8;
  for (let n = 0; n < lanes; n += CHUNK) {
    const m = n / parts;
    const weight = pointer + (n / 8) * panel;
    const columns = Math.min(CHUNK, lanes - n);
    const gated = parts - 1;
    kernels.matmul_inner!(
      special ? form + SPECIAL : form,
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
      Number(p.rowMajor),
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
