/** Calls of the matrix product kernels: which kernel, which tile, one dispatch per weight slice. */
import activationCode from '../../../kernels/activation.wgsl';
import innerCode from '../../../kernels/gathered-ffn.wgsl';
import innerChannelCode from '../../../kernels/gathered-ffn.inner.wgsl';
import innerDirectCode from '../../../kernels/gathered-ffn.direct.wgsl';
import innerFewRowsCode from '../../../kernels/gathered-ffn.few-rows.wgsl';
import innerIntegersCode from '../../../kernels/gathered-ffn.integers.wgsl';
import int8Code from '../../../kernels/int8.wgsl';
import int8TileCode from '../../../kernels/int8.tile.wgsl';
import linearCode from '../../../kernels/linear.wgsl';
import directCode from '../../../kernels/linear.direct.wgsl';
import aloneLanesCode from '../../../kernels/lanes.alone.wgsl';
import subgroupLanesCode from '../../../kernels/lanes.subgroups.wgsl';
import fewRowsCode from '../../../kernels/linear.few-rows.wgsl';
import integersCode from '../../../kernels/linear.integers.wgsl';
import padCode from '../../../kernels/linear.pad.wgsl';
import quantizeCode from '../../../kernels/linear.quantize.wgsl';
import rowStatsCode from '../../../kernels/row-stats.wgsl';
import f16Code from '../../../kernels/weight.f16.wgsl';
import f32Code from '../../../kernels/weight.f32.wgsl';
import fourCode from '../../../kernels/weight.four.wgsl';
import q4Code from '../../../kernels/weight.q4.wgsl';
import q8Code from '../../../kernels/weight.q8.wgsl';
import { BLOCK, blocksOf } from '../../backend/quantize.ts';
import { WEIGHT_DTYPES, type WeightDType } from '../../backend/weight.ts';
import { f32, type GpuContext, type GpuKernel, type GpuOperand, type GpuWeight } from '../../backend/webgpu/binding.ts';
import { roundUp, WEIGHT_COLUMNS, WEIGHT_DEPTH } from '../../backend/webgpu/pack.ts';

/** How a kernel reads its weight: put in front of it. */
const READING: Readonly<Record<WeightDType, string>> = {
  f32: f32Code + fourCode,
  f16: f16Code + fourCode,
  q8: q8Code,
  q4: q4Code,
};

/** One kernel for each dtype of the weight. `head` comes first, as what it enables must. */
type Kernels = Readonly<Record<WeightDType, GpuKernel>>;
function kernelsOf(name: string, code: string, head = ''): Kernels {
  const kernels = WEIGHT_DTYPES.map((dtype) => [dtype, { name: `${name} ${dtype}`, code: head + activationCode + READING[dtype] + code }]);
  return Object.fromEntries(kernels) as Kernels;
}

/** The kernels of a product: by tiles, on software adapters in their place, for few rows, and by tiles of int8 rows. */
interface Family {
  tiles: Kernels;
  direct: Kernels;
  /** The direct kernels of adapters with subgroups. */
  directSubgroups: Kernels;
  few: Kernels;
  integers: Kernels;
}
const LINEAR: Family = {
  tiles: kernelsOf('linear', linearCode),
  direct: kernelsOf('linear.direct', aloneLanesCode + directCode),
  directSubgroups: kernelsOf('linear.direct subgroups', directCode, subgroupLanesCode),
  few: kernelsOf('linear.few-rows', fewRowsCode),
  integers: kernelsOf('linear.integers', int8TileCode + integersCode),
};
const INNER: Family = {
  tiles: kernelsOf('gathered-ffn', innerChannelCode + innerCode),
  direct: kernelsOf('gathered-ffn.direct', aloneLanesCode + innerChannelCode + innerDirectCode),
  directSubgroups: kernelsOf('gathered-ffn.direct subgroups', innerChannelCode + innerDirectCode, subgroupLanesCode),
  few: kernelsOf('gathered-ffn.few-rows', innerChannelCode + innerFewRowsCode),
  integers: kernelsOf('gathered-ffn.integers', int8TileCode + int8Code + innerChannelCode + innerIntegersCode),
};
const pad: GpuKernel = { name: 'linear.pad', code: padCode };
const quantize: GpuKernel = { name: 'linear.quantize', code: rowStatsCode + int8Code + quantizeCode };

/** Up to this many rows the product is bound by reading the weights. */
const FEW_ROWS = 8;
/** Workgroups that keep an adapter busy: smaller tiles are taken until there are as many. A guess, not measured on GPUs. */
const BUSY = 128;
const BUSY_SOFTWARE = 4;
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
const TILES_BY_VENDOR: Readonly<Record<string, readonly Tile[]>> = {
  nvidia: WIDE_TILES,
  amd: WIDE_TILES,
  // wgpu tells the PCI ids.
  4318: WIDE_TILES,
  4098: WIDE_TILES,
};
/** vec4 of columns of a workgroup of the direct kernels, its rows, and their most rows. */
const DIRECT_QUADS = 16;
const DIRECT_TM = 16;
const DIRECT_MOST = DIRECT_TM * 65535;
/** Accumulators of the few-rows kernels. Each number is a pipeline of its own, so not every one is worth having. */
const ROWS_AT_ONCE = [1, 4, 8] as const;

/** What tuning may take instead: see `choose`. All keep to the default limits of WebGPU. */
export const productKernels = { tiled: LINEAR.tiles.f32, few: LINEAR.few.f32 } as const;
export const FEW_SHAPES = [64, 128, 256].flatMap((THREADS) => [4, 8, 16].map((QUADS) => ({ QUADS, THREADS })));
export const TILE_SHAPES = [...TILES, WIDE_TILES[0]!, { TM: 8, NX: 8, NY: 8 }, { TM: 4, NX: 16, NY: 8 }, { TM: 4, NX: 8, NY: 16 }];
/** Up to this many rows there are few tiles to spread over the device. */
const SOME_ROWS = 64;

export function quadsOf(elements: number): number {
  return Math.ceil(elements / 4);
}

/** Rows of x as whole vec4: x itself, or a padded copy of the listed rows where their length is no multiple of 4. */
export function wholeQuads(
  gpu: GpuContext,
  x: GpuOperand,
  rows: GpuOperand | undefined,
  count: number,
  K: number,
): { x: GpuOperand; rows: GpuOperand | undefined } {
  if (K % 4 === 0) return { x, rows };
  const quads = quadsOf(K);
  const copy = gpu.scratch(count * quads * 16);
  gpu.dispatch(pad, [x, rows, copy], [count, K, quads, rows ? 1 : 0], [Math.ceil((count * quads) / 64)]);
  return { x: copy, rows: undefined };
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
  const flags = (rows ? 1 : 0) + (norm ? 2 : 0) + (norm?.bias ? 4 : 0);
  const params = [count, K, quadsOf(K), start, norm?.kind === 'layer' ? 1 : 0, f32(norm?.eps ?? 0), flags];
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
  const { count, K, weight, N, y, rows, bias, outRows, rowGate, accumulate, activation = 0, rowOffset = 0, start = 0, eps = 0 } = call;
  if (count === 0) return;
  let { x } = call;
  let normWeight = K ? call.normWeight : undefined;
  if (!('codes' in x) && takesIntegers(gpu, weight, count)) {
    x = quantizeRows(gpu, { x, count, K, rows, start: rows && start }, normWeight && { kind: 'rms', eps, weight: normWeight });
    normWeight = undefined;
  }
  const flags = (rows ? 1 : 0) + (bias ? 2 : 0) + (outRows ? 4 : 0) + (rowGate ? 8 : 0) + (accumulate ? 16 : 0) + (normWeight ? 32 : 0);
  for (const slice of weight.slices) {
    const pitch = pitchOf(slice.count);
    const params = [
      count,
      'codes' in x ? blocksOf(K) : quadsOf(K),
      Math.ceil(K / WEIGHT_DEPTH),
      slice.count,
      slice.first,
      N,
      pitch,
      rowOffset,
      flags,
      activation,
      start,
      f32(K),
      f32(eps),
    ];
    const ends = [slice.operand, bias, outRows, rowGate];
    const operands = 'codes' in x ? [x.codes, x.scales, ...ends, y] : [x, rows, ...ends, normWeight, y];
    const { kernel, workgroups, constants } = choose(gpu, LINEAR, 'codes' in x, weight, count, quadsOf(slice.count), !!normWeight);
    gpu.dispatch(kernel, operands, params, workgroups, constants);
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
  const { x, count, K, weight, M, h, activation, rows, stats, normWeight, normBias, gateBias, upBias, start } = call;
  const integers = 'codes' in x;
  const unitsOf = integers ? blocksOf : quadsOf;
  const rms = K > 0 && normWeight && !stats && !integers;
  const flags = (rows ? 1 : 0) + (stats ? 2 : 0) + (gateBias ? 4 : 0) + (upBias ? 8 : 0) + (normBias ? 16 : 0) + (rms ? 32 : 0);
  const from = integers ? [x.codes, x.scales] : [x, stats ?? rows, normWeight, normBias];
  const to = 'codes' in h ? [h.codes, h.scales] : [h];
  for (const slice of weight.slices) {
    const pitch = pitchOf(slice.count) * weight.parts;
    const sizes = [count, unitsOf(K), Math.ceil(K / WEIGHT_DEPTH), slice.first, M, pitch, unitsOf(M)];
    const params = [...sizes, flags, activation, start, f32(K), f32(call.eps)];
    const { kernel, workgroups, constants } = choose(gpu, INNER, integers, weight, count, quadsOf(slice.count), !!(rms || stats));
    const operands = [...from, slice.operand, gateBias, upBias, ...to];
    gpu.dispatch(kernel, operands, params, workgroups, { PARTS: weight.parts, ...constants });
  }
}

/** vec4 of columns of a part of a packed slice. */
function pitchOf(columns: number): number {
  return quadsOf(Math.max(WEIGHT_COLUMNS, roundUp(columns, WEIGHT_COLUMNS)));
}

interface Choice {
  kernel: GpuKernel;
  workgroups: readonly [x: number, y?: number];
  constants: Record<string, number>;
}

/** What a product of `count` rows and N columns of f32 takes. */
export function productChoice(gpu: Chooser, count: number, N: number): Choice {
  return choose(gpu, LINEAR, false, { dtype: 'f32', zeros: false, parts: 1 }, count, quadsOf(N));
}

type Chooser = Pick<GpuContext, 'features' | 'vendor' | 'shapes'>;

/** The tile changes no result, nor do the direct kernels: products are added up in one order. Few rows do, they split the inputs. */
function choose(
  gpu: Chooser,
  family: Family,
  integers: boolean,
  { dtype, zeros, parts }: Pick<GpuWeight, 'dtype' | 'zeros' | 'parts'>,
  count: number,
  quads: number,
  norm = false,
): Choice {
  const form: Record<string, number> = zeros ? { ZEROS: 1 } : {};
  const software = gpu.features.has('software-adapter');
  const busy = software ? BUSY_SOFTWARE : BUSY;
  if (count <= FEW_ROWS && !integers) {
    const ROWS = ROWS_AT_ONCE.find((rows) => count <= rows)!;
    const QUADS = [16, 8].find((width) => quads / width >= busy) ?? 4;
    const constants: { ROWS: number; QUADS: number } = { ...form, ROWS, QUADS, ...gpu.shapes.few };
    return { kernel: family.few[dtype], workgroups: [Math.ceil(quads / constants.QUADS)], constants };
  }
  const tuned = integers ? undefined : gpu.shapes[count <= SOME_ROWS ? 'some' : 'many'];
  if (software && !integers && !tuned && count <= DIRECT_MOST) {
    const workgroups = [Math.ceil((quads * parts) / DIRECT_QUADS), Math.ceil(count / DIRECT_TM)] as const;
    const direct = gpu.features.has('subgroups') ? family.directSubgroups : family.direct;
    return { kernel: direct[dtype], workgroups, constants: norm ? { ...form, NORM: 1 } : form };
  }
  const groups = ({ TM, NX, NY }: Tile) => [Math.ceil(quads / NX), Math.ceil(count / (NY * TM))] as const;
  const tiles = (!integers && TILES_BY_VENDOR[gpu.vendor]) || TILES;
  const usual = tiles.find((tile) => groups(tile)[0] * groups(tile)[1] >= busy) ?? tiles.at(-1)!;
  if (integers) return { kernel: family.integers[dtype], workgroups: groups(usual), constants: { ...form, NX: usual.NX, NY: usual.NY } };
  const tile = tuned ? { ...usual, TM: TILES[0]!.TM, ...tuned } : usual; // what was tuned before there were others has 4
  return { kernel: family.tiles[dtype], workgroups: groups(tile), constants: { ...form, ...tile } };
}
