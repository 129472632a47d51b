/** Calls of the matrix product kernels: which kernel, which tile, one dispatch per weight slice. */
import activationCode from '../../../kernels/activation.wgsl';
import innerCode from '../../../kernels/gathered-ffn.wgsl';
import innerFewRowsCode from '../../../kernels/gathered-ffn.few-rows.wgsl';
import linearCode from '../../../kernels/linear.wgsl';
import fewRowsCode from '../../../kernels/linear.few-rows.wgsl';
import padCode from '../../../kernels/linear.pad.wgsl';
import { f32, type GpuContext, type GpuKernel, type GpuOperand, type GpuWeight } from './binding.ts';
import { roundUp, WEIGHT_COLUMNS, WEIGHT_DEPTH } from './pack.ts';

const tiled: GpuKernel = { name: 'linear', code: activationCode + linearCode };
const fewRows: GpuKernel = { name: 'linear.few-rows', code: activationCode + fewRowsCode };
const pad: GpuKernel = { name: 'linear.pad', code: padCode };
const innerTiled: GpuKernel = { name: 'gathered-ffn', code: activationCode + innerCode };
const innerFewRows: GpuKernel = { name: 'gathered-ffn.few-rows', code: activationCode + innerFewRowsCode };

/** Up to this many rows the product is bound by reading the weights. */
const FEW_ROWS = 8;
/** Rows of results per thread in the tiled kernels. */
const TM = 4;
/** Workgroups that keep an adapter busy: smaller tiles are taken until there are as many. A guess, not measured on GPUs. */
const BUSY = 128;
const BUSY_SOFTWARE = 4;
/** Tiles by threads across and down, largest first: 64 x 64, 32 x 32, 32 x 16 results. */
const TILES = [
  [16, 16],
  [8, 8],
  [8, 4],
] as const;
/** Accumulators of the few-rows kernels. Each number is a pipeline of its own, so not every one is worth having. */
const ROWS_AT_ONCE = [1, 4, 8] as const;

/** What tuning may take instead: see `choose`. All keep to the default limits of WebGPU. */
export const productKernels = { tiled, few: fewRows } as const;
export const FEW_SHAPES = [64, 128, 256].flatMap((THREADS) => [4, 8, 16].map((QUADS) => ({ QUADS, THREADS })));
export const TILE_SHAPES = [...TILES, [16, 8], [8, 16]].map(([NX, NY]) => ({ NX: NX!, NY: NY! }));
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

/** `y[outRow(i)] = or += rowGate[i] * act(n W^T + bias)` with n = x[row(i)] or its RMSNorm, for i < rows. */
export interface Product {
  /** f32 [T][quads of K]: rows of whole vec4. */
  x: GpuOperand;
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
  const { x, count, K, weight, N, y, rows, bias, outRows, rowGate, accumulate, activation = 0, rowOffset = 0, start = 0 } = call;
  const normWeight = K ? call.normWeight : undefined;
  if (count === 0) return;
  const flags = (rows ? 1 : 0) + (bias ? 2 : 0) + (outRows ? 4 : 0) + (rowGate ? 8 : 0) + (accumulate ? 16 : 0) + (normWeight ? 32 : 0);
  for (const slice of weight.slices) {
    const pitch = pitchOf(slice.count);
    const params = [
      count,
      quadsOf(K),
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
      f32(call.eps ?? 0),
    ];
    const operands = [x, rows, slice.operand, bias, outRows, rowGate, normWeight, y];
    const { kernel, workgroups, constants } = choose(gpu, tiled, fewRows, count, quadsOf(slice.count));
    gpu.dispatch(kernel, operands, params, workgroups, constants);
  }
}

/** `h[i] = act(gate(n)) * up(n)` or `act(up(n))` with n = norm(x[row(i)]), for i < rows. */
export interface InnerProduct {
  x: GpuOperand;
  count: number;
  K: number;
  weight: GpuWeight;
  /** Channels of h. */
  M: number;
  /** f32 [count][quads of M]. */
  h: GpuOperand;
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
  const rms = K > 0 && normWeight && !stats;
  const flags = (rows ? 1 : 0) + (stats ? 2 : 0) + (gateBias ? 4 : 0) + (upBias ? 8 : 0) + (normBias ? 16 : 0) + (rms ? 32 : 0);
  for (const slice of weight.slices) {
    const pitch = pitchOf(slice.count) * weight.parts;
    const sizes = [count, quadsOf(K), Math.ceil(K / WEIGHT_DEPTH), slice.first, M, pitch, quadsOf(M)];
    const params = [...sizes, flags, activation, start, f32(K), f32(call.eps)];
    const operands = [x, stats ?? rows, normWeight, normBias, slice.operand, gateBias, upBias, h];
    const { kernel, workgroups, constants } = choose(gpu, innerTiled, innerFewRows, count, quadsOf(slice.count));
    gpu.dispatch(kernel, operands, params, workgroups, { PARTS: weight.parts, ...constants });
  }
}

/** vec4 per row and part of a packed slice. */
function pitchOf(columns: number): number {
  return quadsOf(Math.max(WEIGHT_COLUMNS, roundUp(columns, WEIGHT_COLUMNS)));
}

interface Choice {
  kernel: GpuKernel;
  workgroups: readonly [x: number, y?: number];
  constants: Record<string, number>;
}

/** What a product of `count` rows and N columns takes. */
export function productChoice(gpu: Pick<GpuContext, 'features' | 'shapes'>, count: number, N: number): Choice {
  return choose(gpu, tiled, fewRows, count, quadsOf(N));
}

/** The tile changes no result: every thread adds up its products in the same order. Few rows do, they split the inputs. */
function choose(gpu: Pick<GpuContext, 'features' | 'shapes'>, tile: GpuKernel, few: GpuKernel, count: number, quads: number): Choice {
  const busy = gpu.features.has('software-adapter') ? BUSY_SOFTWARE : BUSY;
  if (count <= FEW_ROWS) {
    const ROWS = ROWS_AT_ONCE.find((rows) => count <= rows)!;
    const QUADS = [16, 8].find((width) => quads / width >= busy) ?? 4;
    const constants: { ROWS: number; QUADS: number } = { ROWS, QUADS, ...gpu.shapes.few };
    return { kernel: few, workgroups: [Math.ceil(quads / constants.QUADS)], constants };
  }
  const groups = ([NX, NY]: readonly [number, number]) => [Math.ceil(quads / NX), Math.ceil(count / (NY * TM))] as const;
  const tuned = gpu.shapes[count <= SOME_ROWS ? 'some' : 'many'];
  const sizes = tuned ? [[tuned.NX!, tuned.NY!] as const, ...TILES] : TILES;
  const [NX, NY] = sizes.find((size) => groups(size)[0] * groups(size)[1] >= busy) ?? TILES[TILES.length - 1]!;
  return { kernel: tile, workgroups: groups([NX, NY]), constants: { NX, NY } };
}
