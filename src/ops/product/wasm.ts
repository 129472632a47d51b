/** Calls of the matrix product kernels: row blocks that bound the scratch memory, column chunks that bound a call. */
import { FORM, type ThreadScratch, WIDE, type WasmContext, type WasmKernels, type WasmWeight } from '../../backend/wasm/binding.ts';

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
    tile: ownScratch(kernels.matmul_scratch_bytes(weight.form, K)),
    a: scratch(packedBytes(rows, kernels.row_bytes(weight.form, K))),
    row: isInteger(weight) ? ownScratch(kernels.pack_rows_i8_scratch_bytes(K)) : undefined,
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

export function packRows({ kernels, group, threads, share }: WasmContext, rows: RowsOfA): void {
  const { weight, a, x, row, list, count, K, norm, stride = K * 4 } = rows;
  const kind = norm ? 1 + Number(norm.kind === 'layer') : 0;
  const normArguments = [kind, norm?.eps ?? 0, norm?.weight ?? 0, norm?.bias ?? 0] as const;
  if (!row) {
    kernels.pack_rows_f32(a, x, list, count, K, group, ...normArguments);
    return;
  }
  const rowBytes = kernels.row_bytes(weight.form, K);
  const step = threads === 1 ? count : Math.ceil(count / (threads * PACKS_PER_THREAD) / group) * group;
  // Beside products of integers this is work enough to be shared.
  share({
    kernel: 'pack_rows_i8',
    calls: count && Math.ceil(count / step),
    work: count * K * PACK_WORK,
    own: { ...row, argument: 8 },
    args(call) {
      const first = call * step;
      const from = list ? ([x, stride, list + first * 4] as const) : ([x + first * stride, stride, 0] as const);
      return [a + first * rowBytes, ...from, Math.min(step, count - first), K, group, weight.form, row.pointer, ...normArguments];
    },
  });
}

/** What both products take: addresses, 0 where absent. */
interface Operands {
  tile: ThreadScratch;
  a: number;
  rows: number;
  K: number;
  weight: WasmWeight;
  activation: number;
}

/** `y[outRows[r]] = or += rowGate[r] * act(A W^T + bias)`. See matmul. */
export interface Product extends Operands {
  /** Columns of packed f32 A where there are more than K. */
  aColumns?: number;
  N: number;
  y: number;
  outRows: number;
  bias: number;
  accumulate: boolean;
  rowGate: number;
}

export function product(wasm: WasmContext, p: Product): void {
  shareColumns<'matmul'>(wasm, 'matmul', p, p.aColumns ?? p.K, p.N, (n) => {
    return [p.y + n * 4, p.N * 4, p.outRows, p.bias && p.bias + n * 4, p.activation, Number(p.accumulate), p.rowGate];
  });
}

/** `out = act(gate) * up` or `act(up)`: packed f32 A of `innerColumns(M)` columns, or rows of them. See matmul_inner. */
export interface InnerProduct extends Operands {
  M: number;
  out: number;
  rowMajor: boolean;
  gateBias: number;
  upBias: number;
}

export function innerProduct(wasm: WasmContext, p: InnerProduct): void {
  const { parts } = p.weight;
  const outStride = innerColumns(p.M) * 4;
  shareColumns<'matmul_inner'>(wasm, 'matmul_inner', p, p.K, Math.ceil((p.M * parts) / 8) * 8, (n) => {
    return [n / parts, p.M, parts - 1, p.out, outStride, Number(p.rowMajor), p.gateBias, p.upBias, p.activation];
  });
}

type ProductKernel = 'matmul' | 'matmul_inner';
/** Arguments of a kernel behind those that both have. */
type Rest<Kernel extends ProductKernel> = Parameters<WasmKernels[Kernel]> extends [...Nine, ...infer R] ? R : never;
type Nine = [form: number, c: number, a: number, aStride: number, rows: number, group: number, K: number, b: number, N: number];

/** Shares the `lanes` of a product; `rest` gives the last arguments of the call whose first lane is n. */
function shareColumns<Kernel extends ProductKernel>(
  wasm: WasmContext,
  kernel: Kernel,
  { tile, a, rows, K, weight }: Operands,
  aColumns: number,
  lanes: number,
  rest: (n: number) => Rest<Kernel>,
): void {
  const { kernels, group, wide } = wasm;
  const { pointer, form, productForm } = weight;
  const aStride = kernels.row_bytes(form, aColumns) * group;
  const panel = kernels.panel_bytes(form, K);
  const formArgument = wide && form === FORM.f32 ? form + WIDE : productForm;
  const starts = callStarts(wasm, rows, K, lanes);
  wasm.share({
    kernel,
    calls: starts.length - 1,
    work: rows * K * lanes,
    own: { ...tile, argument: 1 },
    args(call) {
      const n = starts[call]!;
      const [b, N] = [pointer + (n / 8) * panel, starts[call + 1]! - n];
      const all = [formArgument, tile.pointer, a, aStride, rows, group, K, b, N, ...rest(n)] satisfies [...Nine, ...unknown[]];
      return all as unknown as Parameters<WasmKernels[Kernel]>;
    },
  });
}

/** The inner product is written four columns at a time. */
export function innerColumns(M: number): number {
  return Math.ceil(M / 4) * 4;
}
