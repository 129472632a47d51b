/** Calls of the matrix product kernels: which kernel, which tile, one dispatch per weight slice. */
import activationCode from '../../../kernels/activation.wgsl';
import innerCode from '../../../kernels/gathered-ffn.wgsl';
import innerDirectCode from '../../../kernels/gathered-ffn.direct.wgsl';
import innerFewRowsCode from '../../../kernels/gathered-ffn.few-rows.wgsl';
import linearCode from '../../../kernels/linear.wgsl';
import directCode from '../../../kernels/linear.direct.wgsl';
import fewRowsCode from '../../../kernels/linear.few-rows.wgsl';
import padCode from '../../../kernels/linear.pad.wgsl';
import type { GpuContext, GpuKernel, GpuOperand, GpuWeight } from './binding.ts';
import { roundUp, WEIGHT_COLUMNS, WEIGHT_DEPTH } from './pack.ts';

/** The kernels of one product. */
interface Kernels {
  tiled: GpuKernel;
  fewRows: GpuKernel;
  /** On software adapters in place of `tiled`. */
  direct: GpuKernel;
}

const outer: Kernels = {
  tiled: { name: 'linear', code: activationCode + linearCode },
  fewRows: { name: 'linear.few-rows', code: activationCode + fewRowsCode },
  direct: { name: 'linear.direct', code: activationCode + directCode },
};
const inner: Kernels = {
  tiled: { name: 'gathered-ffn', code: activationCode + innerCode },
  fewRows: { name: 'gathered-ffn.few-rows', code: activationCode + innerFewRowsCode },
  direct: { name: 'gathered-ffn.direct', code: activationCode + innerDirectCode },
};
const pad: GpuKernel = { name: 'linear.pad', code: padCode };

/** Up to this many rows the product is bound by reading the weights. */
const FEW_ROWS = 8;
/** Rows of results per thread in the other kernels. */
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
/** vec4 of columns of a workgroup of the direct kernels, and their most rows: a workgroup per TM of them. */
const DIRECT_QUADS = 16;
const DIRECT_MOST = TM * 65535;
/** Accumulators of the few-rows kernels. Each number is a pipeline of its own, so not every one is worth having. */
const ROWS_AT_ONCE = [1, 4, 8] as const;

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

/** `y[outRow(i)] = or += rowGate[i] * act(x[row(i)] W^T + bias)` for i < rows. */
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
  if (count === 0) return;
  const flags = (rows ? 1 : 0) + (bias ? 2 : 0) + (outRows ? 4 : 0) + (rowGate ? 8 : 0) + (accumulate ? 16 : 0);
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
    ];
    const operands = [x, rows, slice.operand, bias, outRows, rowGate, y];
    const { kernel, workgroups, constants } = choose(gpu, outer, count, quadsOf(slice.count));
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
  normWeight?: GpuOperand;
  normBias?: GpuOperand;
  gateBias?: GpuOperand;
  upBias?: GpuOperand;
  /** Entry of `rows` or `stats` of row 0 of h. */
  start: number;
}

export function innerProduct(gpu: GpuContext, call: InnerProduct): void {
  const { x, count, K, weight, M, h, activation, rows, stats, normWeight, normBias, gateBias, upBias, start } = call;
  const flags = (rows ? 1 : 0) + (stats ? 2 : 0) + (gateBias ? 4 : 0) + (upBias ? 8 : 0) + (normBias ? 16 : 0);
  for (const slice of weight.slices) {
    const pitch = pitchOf(slice.count) * weight.parts;
    const params = [count, quadsOf(K), Math.ceil(K / WEIGHT_DEPTH), slice.first, M, pitch, quadsOf(M), flags, activation, start];
    const operands = [x, stats ?? rows, normWeight, normBias, slice.operand, gateBias, upBias, h];
    const { kernel, workgroups, constants } = choose(gpu, inner, count, quadsOf(slice.count));
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

/** The tile changes no result, nor do the direct kernels: products are added up in one order. Few rows do, they split the inputs. */
function choose(gpu: GpuContext, { tiled, fewRows, direct }: Kernels, count: number, quads: number): Choice {
  const software = gpu.features.has('software-adapter');
  const busy = software ? BUSY_SOFTWARE : BUSY;
  if (count <= FEW_ROWS) {
    const ROWS = ROWS_AT_ONCE.find((rows) => count <= rows)!;
    const QUADS = [16, 8].find((width) => quads / width >= busy) ?? 4;
    return { kernel: fewRows, workgroups: [Math.ceil(quads / QUADS)], constants: { ROWS, QUADS } };
  }
  if (software && count <= DIRECT_MOST) {
    return { kernel: direct, workgroups: [Math.ceil(quads / DIRECT_QUADS), Math.ceil(count / TM)], constants: {} };
  }
  const groups = ([NX, NY]: readonly [number, number]) => [Math.ceil(quads / NX), Math.ceil(count / (NY * TM))] as const;
  const [NX, NY] = TILES.find((size) => groups(size)[0] * groups(size)[1] >= busy) ?? TILES[TILES.length - 1]!;
  return { kernel: tiled, workgroups: groups([NX, NY]), constants: { NX, NY } };
}
