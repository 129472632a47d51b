/**
 * Runs the tiles on small numbers whose products are known. Engines have shipped relaxed instructions that validate and compute
 * nonsense in their first tier, so validation alone is not trusted.
 */
import { FORM, type WasmKernels } from './binding.ts';
import type { LinearMemory } from './memory.ts';

const ROWS = 6;
const LANES = 8;
const BYTES = 16384;
/** Where rows, a panel, packed rows and their product lie in that; the scratch of the kernels is in front. */
const [X, PANEL, PACKED, Y] = [1024, 4096, 8192, 12288];

/** Whether the float and the integer tiles of 4 and of 6 rows give what they must: on integers, which are exact fused or not. */
export function computesRight(kernels: WasmKernels, linear: LinearMemory): boolean {
  const pointer = linear.allocate(BYTES);
  try {
    return [4, 6].every((group) => floatsRight(kernels, linear, pointer, group) && integersRight(kernels, linear, pointer, group));
  } catch {
    return false; // a trap is a wrong result too
  } finally {
    linear.free(pointer);
  }
}

/** Whether multiply-add rounds once. The square of 1 + 2^-12 loses its 2^-24 when it is rounded before the addition. */
export function fusesMultiplyAdd(kernels: WasmKernels, linear: LinearMemory): boolean {
  const pointer = linear.allocate(BYTES);
  const x = 1 + 2 ** -12;
  const alternate = (first: number, rows: number) => Array.from({ length: 2 * rows }, (_, i) => (i % 2 ? x : first));
  const [sum] = floatProduct(kernels, linear, pointer, { group: 4, K: 2, x: alternate(-1 - 2 ** -11, ROWS), w: alternate(1, LANES) });
  linear.free(pointer);
  return sum === 2 ** -24;
}

/** Rows of K columns by as many lanes, packed in groups of `group` rows. */
interface Product {
  group: number;
  K: number;
  x: readonly number[];
  w: readonly number[];
}

function floatsRight(kernels: WasmKernels, linear: LinearMemory, pointer: number, group: number): boolean {
  const K = 5;
  const product = { group, K, x: integers(ROWS, K, 3), w: integers(LANES, K, 2) };
  return isRight(floatProduct(kernels, linear, pointer, product), product);
}

function floatProduct(kernels: WasmKernels, linear: LinearMemory, pointer: number, product: Product): Float32Array {
  const { group, K, x, w } = product;
  linear.f32(pointer + X, x.length).set(x);
  const panel = linear.f32(pointer + PANEL, w.length);
  w.forEach((value, i) => {
    panel[(i % K) * LANES + Math.floor(i / K)] = value;
  });
  kernels.pack_rows_f32(pointer + PACKED, pointer + X, 0, ROWS, K, group, 0, 0, 0, 0);
  return multiply(kernels, linear, pointer, FORM.f32, product);
}

/** Codes up to the ends of their ranges, and columns of padding. A scale of 1 makes a row's codes its values. */
function integersRight(kernels: WasmKernels, linear: LinearMemory, pointer: number, group: number): boolean {
  const K = 40;
  const columns = 64;
  const levels = kernels.q8_levels();
  const [x, w] = [integers(ROWS, K, 127), integers(LANES, K, levels)];
  for (let lane = 0; lane < LANES; lane++) {
    const codes = linear.bytes(pointer + X, columns).fill(0);
    const zero = levels === 63 ? 64 : 0;
    for (let k = 0; k < K; k++) codes[k] = zero + w[lane * K + k]!;
    kernels.pack_lane_q8(pointer + PANEL, lane, pointer + X, columns, 1);
  }
  linear.f32(pointer + X, x.length).set(x);
  kernels.pack_rows_i8(pointer + PACKED, pointer + X, K * 4, 0, ROWS, K, group, FORM.q8, pointer + 512, 0, 0, 0, 0);
  const product = { group, K, x, w };
  return isRight(multiply(kernels, linear, pointer, FORM.q8, product), product);
}

/** The product of the packed rows and the panel. */
function multiply(kernels: WasmKernels, linear: LinearMemory, pointer: number, form: number, { group, K }: Product): Float32Array {
  const [a, b, y] = [pointer + PACKED, pointer + PANEL, pointer + Y];
  const result = linear.f32(y, ROWS * LANES).fill(Number.NaN);
  const aStride = kernels.row_bytes(form, K) * group;
  kernels.matmul(form, pointer, a, aStride, ROWS, group, K, b, LANES, y, LANES * 4, 0, 0, 0, 0, 0);
  return result;
}

function isRight(y: Float32Array, { K, x, w }: Product): boolean {
  return y.every((value, i) => {
    let sum = 0;
    for (let k = 0; k < K; k++) sum += x[Math.floor(i / LANES) * K + k]! * w[(i % LANES) * K + k]!;
    return value === sum;
  });
}

/** Rows of integers from -most to most, both ends in every row. */
function integers(rows: number, K: number, most: number): number[] {
  return Array.from({ length: rows * K }, (_, i) => {
    const k = i % K;
    return k < 2 ? most - 2 * most * k : ((7 * i) % (2 * most + 1)) - most;
  });
}
