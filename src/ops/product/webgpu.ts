/** Calls of the matrix product kernels: which kernel, which tile, one dispatch per weight slice. */
import gatheredFfn from '../../../kernels/gathered-ffn.wgsl';
import gatheredFfnIntegers from '../../../kernels/gathered-ffn.integers.wgsl';
import linear from '../../../kernels/linear.wgsl';
import linearIntegers from '../../../kernels/linear.integers.wgsl';
import quantize from '../../../kernels/linear.quantize.wgsl';
import fewRows from '../../../kernels/product.few-rows.wgsl';
import tiles from '../../../kernels/product.tiles.wgsl';
import weightF16 from '../../../kernels/weight.f16.wgsl';
import weightF32 from '../../../kernels/weight.f32.wgsl';
import weightQ4 from '../../../kernels/weight.q4.wgsl';
import weightQ8 from '../../../kernels/weight.q8.wgsl';
import { BLOCK, blocksOf } from '../../backend/quantize.ts';
import { WEIGHT_DTYPES, type WeightDType } from '../../backend/weight.ts';
import type { Constants, GpuContext, GpuOperand, GpuWeight } from '../../backend/webgpu/binding.ts';
import { type GpuKernel, prefixed } from '../../backend/webgpu/kernel.ts';
import { moveRows } from '../../backend/webgpu/move-rows.ts';
import { roundUp } from '../../backend/webgpu/pack.ts';

/** One kernel for each dtype of the weight. */
type Kernels<P extends string> = Readonly<Record<WeightDType, GpuKernel<P>>>;

/** The kernels of a product: by tiles, for few rows, and by tiles of int8 rows. */
type Family<P extends string> = Readonly<Record<'tiles' | 'few' | 'integers', Kernels<P>>>;

/** `end` says what becomes of the sums. */
function familyOf<P extends string>(end: GpuKernel<P>, integers: GpuKernel<P>): Family<P> {
  const reading = { f32: weightF32, f16: weightF16, q8: weightQ8, q4: weightQ4 };
  const kernels = (kernel: GpuKernel<P>) =>
    Object.fromEntries(WEIGHT_DTYPES.map((dtype) => [dtype, prefixed(kernel, reading[dtype], dtype)])) as Kernels<P>;
  return {
    tiles: kernels({ name: end.name, pieces: [end, tiles] }),
    few: kernels({ name: `${end.name}.few-rows`, pieces: [end, fewRows] }),
    integers: kernels(integers),
  };
}
const LINEAR = /* @__PURE__ */ familyOf(linear, linearIntegers);
const INNER = /* @__PURE__ */ familyOf(gatheredFfn, gatheredFfnIntegers);

/** Up to this many rows the product is bound by reading the weights. */
const FEW_ROWS = 8;
/** Workgroups that keep an adapter busy: smaller tiles are taken until there are as many. A guess, not measured on GPUs. */
const BUSY = 128;
/** The tile of a workgroup: NX threads across, a vec4 of columns each, and NY down, TM rows each (4 or 8). */
type Tile = Readonly<Record<'TM' | 'NX' | 'NY', number>>;
/** Largest first: 64 x 64, 32 x 32, 32 x 16 results. */
const TILES: readonly Tile[] = [
  { TM: 4, NX: 16, NY: 16 },
  { TM: 4, NX: 8, NY: 8 },
  { TM: 4, NX: 8, NY: 4 },
];
/**
 * Where threads have many registers, 8 rows of each read the workgroup's memory less often: 8 x 8 results of the inner layer of a
 * gated FFN. A start, by what is published about such adapters and not measured here: `tune` measures.
 */
const WIDE_TILES: readonly Tile[] = [{ TM: 8, NX: 16, NY: 8 }, ...TILES.slice(1)];
/** NVIDIA and AMD, of which wgpu tells the PCI ids. */
const WIDE_VENDORS = ['nvidia', 'amd', '4318', '4098'];
/**
 * Constants of the few-rows kernels, of which the first that fits is taken: ROWS accumulators, each number a pipeline of its own, so that not
 * every one is worth having; QUADS vec4 of columns to a workgroup, the most that leave an adapter busy.
 */
const FEW = /* @__PURE__ */ [1, 4, 8].flatMap((ROWS) => [16, 8, 4].map((QUADS) => ({ ROWS, QUADS })));

/** Up to this many rows there are few tiles to spread over the device. */
const SOME_ROWS = 64;

export function quadsOf(elements: number): number {
  return Math.ceil(elements / 4);
}

/** Rows of x as whole vec4: x itself, or a padded copy of the listed rows where their length is no multiple of 4. */
export function wholeQuads(gpu: GpuContext, x: GpuOperand, count: number, K: number, rows?: GpuOperand): Pick<Rows, 'x' | 'rows'> {
  if (K % 4 === 0) return { x, rows };
  const pitch = roundUp(K, 4);
  const copy = gpu.scratch(count * pitch * 4);
  moveRows(gpu, { from: x, to: copy, rows: count, width: K, pitch, list: rows });
  return { x: copy };
}

/** Rows as int8, K padded to blocks of 32 by zeros. */
export interface IntegerRows {
  /** u32 [rows][blocks][8], words of four. */
  codes: GpuOperand;
  /** f32 [rows][blocks]. */
  scales: GpuOperand;
}

/** Whether a product of so many rows takes them as int8. Few rows would not repay the dispatch that makes them so. */
export function takesIntegers({ features }: GpuContext, { dtype }: GpuWeight, count: number): boolean {
  return count > FEW_ROWS && (dtype === 'q8' || dtype === 'q4') && features.has('integer-dot-product');
}

/** Memory for rows of K, as int8 or as whole vec4 of f32. */
export function scratchRows(gpu: GpuContext, count: number, K: number, integers: boolean): GpuOperand | IntegerRows {
  return integers ? integerRows(gpu, count, K) : gpu.scratch(count * quadsOf(K) * 16);
}

function integerRows(gpu: GpuContext, count: number, K: number): IntegerRows {
  const blocks = blocksOf(K);
  return { codes: gpu.scratch(count * blocks * BLOCK), scales: gpu.scratch(count * blocks * 4) };
}

/** Rows [start, start + count) of x, or of a list of its rows. */
export interface Rows {
  /** f32 [T][quads of K]: rows of whole vec4. */
  x: GpuOperand;
  count: number;
  K: number;
  rows?: GpuOperand;
  start?: number;
}

/** A norm of rows; weight and bias as whole vec4. */
export interface Norm {
  kind: 'rms' | 'layer';
  eps: number;
  weight: GpuOperand;
  bias?: GpuOperand;
}

export function quantizeRows(gpu: GpuContext, { x, count, K, rows, start = 0 }: Rows, norm?: Norm): IntegerRows {
  const made = integerRows(gpu, count, K);
  const flags = { hasRows: !!rows, hasNorm: !!norm, hasNormBias: !!norm?.bias, layer: norm?.kind === 'layer' };
  const params = { R: count, D: K, start, ...flags, eps: norm?.eps ?? 0 };
  gpu.dispatch(quantize, [x, rows, norm?.weight, norm?.bias, made.codes, made.scales], params, [count]);
  return made;
}

/** `y[outRow(i)] = or += rowGate[i] * act(n W^T + bias)` with n = x[row(i)] or its RMSNorm, for i < rows. */
export interface Product {
  /** f32 [T][quads of K]: rows of whole vec4; or int8 rows, which are not listed. */
  x: GpuOperand | IntegerRows;
  /** Number of result rows. */
  count: number;
  K: number;
  weight: GpuWeight;
  N: number;
  y: GpuOperand;
  rows?: GpuOperand;
  /** f32 [quads of K], with which x is normalised. */
  normWeight?: GpuOperand;
  eps?: number;
  bias?: GpuOperand;
  outRows?: GpuOperand;
  rowGate?: GpuOperand;
  accumulate?: boolean;
  /** Index in ACTIVATIONS. */
  activation?: number;
  /** Row of y of result 0, without `outRows`. */
  rowOffset?: number;
  /** Entry of rows, outRows and rowGate of result 0. */
  start?: number;
}

export function product(gpu: GpuContext, call: Product): void {
  const { count, K, weight, N, y, rows, bias, outRows, rowGate, accumulate = false } = call;
  const { activation = 0, rowOffset = 0, start = 0, eps = 0 } = call;
  if (count === 0) return;
  let { x } = call;
  let normWeight = K ? call.normWeight : undefined;
  if (!('codes' in x) && takesIntegers(gpu, weight, count)) {
    x = quantizeRows(gpu, { x, count, K, rows, start: rows && start }, normWeight && { kind: 'rms', eps, weight: normWeight });
    normWeight = undefined;
  }
  const from = 'codes' in x ? [x.codes, x.scales] : [x, rows, normWeight];
  for (const { operand, first, count: columns } of weight.slices) {
    const params = {
      R: count,
      K,
      N,
      first,
      count: columns,
      start,
      firstRow: rowOffset,
      activation,
      hasRows: !!rows,
      hasBias: !!bias,
      hasOutRows: !!outRows,
      hasRowGate: !!rowGate,
      accumulate,
      rms: !!normWeight,
      eps,
    };
    const { kernel, workgroups, constants } = choose(gpu, LINEAR, 'codes' in x, weight, count, quadsOf(columns));
    gpu.dispatch(kernel, [operand, bias, outRows, rowGate, y, ...from], params, workgroups, constants);
  }
}

/** `h[i] = act(gate(n)) * up(n)` or `act(up(n))` with n = norm(x[row(i)]), for i < rows. */
export interface InnerProduct {
  /** f32, or int8 rows, which are neither listed nor to be normalised. */
  x: GpuOperand | IntegerRows;
  count: number;
  K: number;
  weight: GpuWeight;
  /** Channels of h. */
  M: number;
  /** [count] rows of M, of the kind of x. */
  h: GpuOperand | IntegerRows;
  activation: number;
  rows?: GpuOperand;
  /** Rows with mean and scale, from gathered-ffn.stats; takes the place of `rows`. */
  stats?: GpuOperand;
  /** Without `stats`: of an RMSNorm. */
  normWeight?: GpuOperand;
  normBias?: GpuOperand;
  eps: number;
  gateBias?: GpuOperand;
  upBias?: GpuOperand;
  /** Entry of `rows` or `stats` of row 0 of h. */
  start: number;
}

export function innerProduct(gpu: GpuContext, call: InnerProduct): void {
  const { x, count, K, weight, M, h, activation, rows, stats, normWeight, normBias, gateBias, upBias, start, eps } = call;
  const integers = 'codes' in x;
  const rms = K > 0 && !!normWeight && !stats && !integers;
  const from = integers ? [x.codes, x.scales] : [normBias, x, stats ?? rows, normWeight];
  const to = 'codes' in h ? [h.codes, h.scales] : [h];
  for (const { operand, first, count: columns } of weight.slices) {
    const params = {
      R: count,
      K,
      M,
      first,
      count: roundUp(columns, integers ? BLOCK : 4),
      start,
      activation,
      hasRows: !!rows,
      hasGateBias: !!gateBias,
      hasUpBias: !!upBias,
      hasNormBias: !!normBias,
      rms,
      layer: !!stats,
      eps,
    };
    const { kernel, workgroups, constants } = choose(gpu, INNER, integers, weight, count, quadsOf(columns));
    gpu.dispatch(kernel, [operand, gateBias, upBias, ...to, ...from], params, workgroups, { PARTS: weight.parts, ...constants });
  }
}

interface Choice<P extends string> {
  kernel: GpuKernel<P>;
  workgroups: readonly [x: number, y?: number];
  constants: Constants;
}

/** What a product of `count` rows and N columns of f32 takes. */
export function productChoice(gpu: Chooser, count: number, N: number): Choice<string> {
  return choose(gpu, LINEAR, false, { dtype: 'f32', zeros: false }, count, quadsOf(N));
}

type Chooser = Pick<GpuContext, 'vendor' | 'shapes'>;

/** The tile changes no result: products are added up in one order. Few rows do, as they split the inputs. */
function choose<P extends string>(
  gpu: Chooser,
  family: Family<P>,
  integers: boolean,
  { dtype, zeros }: Pick<GpuWeight, 'dtype' | 'zeros'>,
  count: number,
  quads: number,
): Choice<P> {
  // As they are where nothing is added: constants that were seen before are known sooner.
  const withZeros = (constants: Constants) => (zeros ? { ...constants, ZEROS: 1 } : constants);
  if (count <= FEW_ROWS && !integers) {
    const usual = FEW.find(({ ROWS, QUADS }) => count <= ROWS && (QUADS === 4 || quads / QUADS >= BUSY))!;
    const constants = gpu.shapes.few ? { ...usual, ...gpu.shapes.few } : usual;
    return { kernel: family.few[dtype], workgroups: [Math.ceil(quads / constants.QUADS)], constants: withZeros(constants) };
  }
  const groups = ({ TM, NX, NY }: Tile) => [Math.ceil(quads / NX), Math.ceil(count / (NY * TM))] as const;
  const tiles = !integers && WIDE_VENDORS.includes(gpu.vendor) ? WIDE_TILES : TILES;
  const usual = tiles.find((tile) => groups(tile)[0] * groups(tile)[1] >= BUSY) ?? tiles.at(-1)!;
  if (integers) return { kernel: family.integers[dtype], workgroups: groups(usual), constants: withZeros({ NX: usual.NX, NY: usual.NY }) };
  const tuned = gpu.shapes[count <= SOME_ROWS ? 'some' : 'many'];
  const tile = tuned ? { ...usual, TM: TILES[0]!.TM, ...tuned } : usual; // what was tuned before there were others has 4
  return { kernel: family.tiles[dtype], workgroups: groups(tile), constants: withZeros(tile) };
}
