/** Calls of the matrix product kernels: row blocks that bound the scratch memory, column chunks that bound a call. */
import { FORM, RAISED, SPECIAL, type ThreadScratch, WIDE, type WasmContext, type WasmWeight } from '../../backend/wasm/binding.ts';

/** Packed A holds at most this many rows at a time; a multiple of both groups. More rows mean fewer passes over the weights. */
const BLOCK_ROWS = 264;
/**
 * Lanes per kernel call. A running Wasm loop stays in the engine's baseline code until it returns, so the first product
 * after loading would take twice as long in one call. A multiple of 32, the widest tile.
 */
const CHUNK = 256;
/** With several threads calls become smaller towards the end, so that nobody waits long for the last one; but no smaller than this. */
const SMALL_CHUNK = 32;
/** Calls to come for each thread, if all were like the next one. */
const CALLS_PER_THREAD = 3;
/** The same for rows on their way to int8, each number of which takes as long as so many multiply-adds. */
const PACKS_PER_THREAD = 4;
const PACK_WORK = 16;

/** The kernels' own scratch: the sums of one tile, or those of a narrow one and an unpacked panel UNPACKED bytes on. */
export const TILE_BYTES = 384;

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

/**
 * Where the calls of a product of `rows` rows of K columns begin, in lanes, and `lanes` at the end. Few calls rather than equal
 * ones: each costs the calling thread the time to write its arguments down.
 */
export function callStarts(context: Pick<WasmContext, 'threads' | 'shareFrom'>, rows: number, K: number, lanes: number): number[] {
  const { threads, shareFrom } = context;
  const worthACall = threads === 1 ? CHUNK : shareFrom / 3 / Math.max(1, rows * K);
  const starts = [];
  for (let start = 0; start < lanes; ) {
    starts.push(start);
    const share = Math.max(1, worthACall, (lanes - start) / (threads * CALLS_PER_THREAD));
    start += Math.min(CHUNK, Math.ceil(share / SMALL_CHUNK) * SMALL_CHUNK);
  }
  return [...starts, lanes];
}

/** Whether A is packed as int8 for this weight. */
export function isInteger({ form }: WasmWeight): boolean {
  return form >= FORM.q8;
}

/** Scratch of the products with a weight of K columns. */
export interface ProductScratch {
  tile: ThreadScratch;
  /** Packed A. */
  a: number;
  /** One row that is on its way to int8, where A is packed so. */
  row?: ThreadScratch;
}

export function productScratch({ kernels, scratch, ownScratch }: WasmContext, weight: WasmWeight, rows: number, K: number): ProductScratch {
  return {
    tile: ownScratch(TILE_BYTES + kernels.unpacked_bytes!(weight.form, K)),
    a: scratch(packedBytes(rows, kernels.row_bytes!(weight.form, K))),
    row: isInteger(weight) ? ownScratch(Math.ceil(K / 32) * 128) : undefined,
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

export function packRows(wasm: WasmContext, rows: RowsOfA): void {
  const { kernels, group } = wasm;
  const { a, x, row, list, count, K, norm } = rows;
  if (row) {
    packIntegerRows(wasm, rows, row);
  } else if (norm) {
    kernels.pack_normed_rows_f32!(a, x, list, count, K, group, Number(norm.kind === 'layer'), norm.eps, norm.weight, norm.bias);
  } else {
    kernels.pack_rows_f32!(a, x, list, count, K, group);
  }
}

/** Beside products of integers this is work enough to be shared. */
function packIntegerRows({ kernels, group, threads, share }: WasmContext, rows: RowsOfA, row: ThreadScratch): void {
  const { weight, a, x, list, count, K, norm, stride = K * 4 } = rows;
  const kind = norm ? 1 + Number(norm.kind === 'layer') : 0;
  const rest = [kind, norm?.eps ?? 0, norm?.weight ?? 0, norm?.bias ?? 0];
  const rowBytes = kernels.row_bytes!(weight.form, K);
  const step = threads === 1 ? count : Math.ceil(count / (threads * PACKS_PER_THREAD) / group) * group;
  share({
    kernel: 'pack_rows_i8',
    calls: count && Math.ceil(count / step),
    work: count * K * PACK_WORK,
    own: { ...row, argument: 8 },
    args(call) {
      const first = call * step;
      const from = list ? [x, stride, list + first * 4] : [x + first * stride, stride, 0];
      return [a + first * rowBytes, ...from, Math.min(step, count - first), K, group, weight.form, row.pointer, ...rest];
    },
  });
}

/** `y[outRows[r]] = or += rowGate[r] * act(A W^T + bias)`; addresses, 0 where absent. See matmul. */
export interface Product {
  tile: ThreadScratch;
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

export function product(wasm: WasmContext, p: Product): void {
  const { kernels, group, share } = wasm;
  const { pointer, form } = p.weight;
  const aStride = kernels.row_bytes!(form, p.aColumns ?? p.K) * group;
  const panel = kernels.panel_bytes!(form, p.K);
  const starts = callStarts(wasm, p.rows, p.K, p.N);
  share({
    kernel: 'matmul',
    calls: starts.length - 1,
    work: p.rows * p.K * p.N,
    own: { ...p.tile, argument: 1 },
    args(call) {
      const n = starts[call]!;
      const columns = starts[call + 1]! - n;
      const weight = pointer + (n / 8) * panel;
      const to = [p.y + n * 4, p.N * 4, p.outRows, p.bias && p.bias + n * 4, p.activation, Number(p.accumulate), p.rowGate];
      return [formArgument(wasm, p.weight), p.tile.pointer, p.a, aStride, p.rows, group, p.K, weight, columns, ...to];
    },
  });
}

/** `out = act(gate) * up` or `act(up)`: packed f32 A of `innerColumns(M)` columns, or rows of them. See matmul_inner. */
export interface InnerProduct {
  tile: ThreadScratch;
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

export function innerProduct(wasm: WasmContext, p: InnerProduct): void {
  const { kernels, group, share } = wasm;
  const { pointer, parts, form } = p.weight;
  const aStride = kernels.row_bytes!(form, p.K) * group;
  const panel = kernels.panel_bytes!(form, p.K);
  const outStride = innerColumns(p.M) * 4 * (p.rowMajor ? 1 : group);
  const lanes = Math.ceil((p.M * parts) / 8) * 8;
  const starts = callStarts(wasm, p.rows, p.K, lanes);
  share({
    kernel: 'matmul_inner',
    calls: starts.length - 1,
    work: p.rows * p.K * lanes,
    own: { ...p.tile, argument: 1 },
    args(call) {
      const n = starts[call]!;
      const columns = starts[call + 1]! - n;
      const weight = pointer + (n / 8) * panel;
      const to = [n / parts, p.M, parts - 1, p.out, outStride, Number(p.rowMajor), p.gateBias, p.upBias, p.activation];
      return [formArgument(wasm, p.weight), p.tile.pointer, p.a, aStride, p.rows, group, p.K, weight, columns, ...to];
    },
  });
}

function formArgument({ wide }: WasmContext, { form, special, raised }: WasmWeight): number {
  if (wide && form === FORM.f32) return form + WIDE;
  return form + (special ? SPECIAL : 0) + (raised << RAISED);
}

/** The inner product is written four columns at a time. */
export function innerColumns(M: number): number {
  return Math.ceil(M / 4) * 4;
}
