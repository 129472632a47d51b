import statsKernel from '../../kernels/gathered-ffn.stats.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { anyWeight, defineOp, inout, input, optional, rowList, weight } from '../backend/op.ts';
import type { GpuOperand } from '../backend/webgpu/binding.ts';
import { innerColumns, innerProduct, isInteger, packedBytes, packRows, product, productScratch, rowBlocks } from './product/wasm.ts';
import {
  innerProduct as gpuInnerProduct,
  product as gpuProduct,
  quadsOf,
  quantizeRows,
  scratchRows,
  takesIntegers,
  wholeQuads,
} from './product/webgpu.ts';
import { ACTIVATION, ACTIVATION_FUNCTIONS, ACTIVATIONS, type Activation } from './activation.ts';
import { normalize } from './norm.ts';
import { dot } from './dot.ts';

/** Largest inner layer on the GPU; more rows run in blocks. */
const INNER_BYTES = 64 << 20;

export interface GatheredFfnAttrs {
  activation: Activation;
  /** Norm of a row before the FFN; needs `normWeight` unless 'none'. Default 'none'. */
  norm?: 'rms' | 'layer' | 'none';
  eps?: number;
}

const definition = /* @__PURE__ */ defineOp<GatheredFfnAttrs>()({
  name: 'gathered_ffn',
  attrs: {
    activation: ACTIVATION,
    norm: field.optional(field.oneOf('rms', 'layer', 'none')),
    eps: field.optional(field.f32({ min: 0 })),
  },
  io: {
    x: inout('T', 'D'),
    rows: optional(rowList('R', 'T')),
    normWeight: optional(input('D')),
    normBias: optional(input('D')),
    up: anyWeight('M', 'D'),
    gateBias: optional(input('M')),
    upBias: optional(input('M')),
    down: weight('D', 'M'),
    downBias: optional(input('D')),
    rowGate: optional(input('G')),
  },
  check({ io, dims, attrs, fail }) {
    const { norm = 'none' } = attrs;
    if ((norm === 'none') !== (io.normWeight === undefined))
      fail('normWeight', io.normWeight ? 'given' : 'absent', `${norm === 'none' ? 'absent' : 'given'} with norm "${norm}"`);
    if (io.normBias && norm !== 'layer') fail('normBias', 'given', `absent with norm "${norm}"`);
    if (io.gateBias && io.up.parts === 1) fail('gateBias', 'given', 'absent, as up is no gate and up pair');
    const count = dims.R ?? dims.T;
    if (dims.G !== undefined && dims.G !== count) fail('rowGate', `[${dims.G}]`, `[${count}], one for each listed row`);
  },
  cost: ({ T, R = T, D, M }, _attrs, { up }) => ({
    flops: 2 * R * D * M * (up.parts + 1),
    bytes: 4 * (2 * R * D + D * M * (up.parts + 1)),
  }),
});

const reference: ReferenceBinding<typeof definition> = (io, { T, R = T, D, M }, { activation, norm = 'none', eps = 0 }) => {
  const { x, rows, up, gateBias, upBias, down, downBias, rowGate } = io;
  const activate = ACTIVATION_FUNCTIONS[activation];
  const gated = up.length === 2;
  const upMatrix = up[up.length - 1]!;
  const normed = new Float64Array(D);
  const inner = new Float64Array(M);
  for (let i = 0; i < R; i++) {
    const row = (rows ? rows[i]! : i) * D;
    normalize(normed, x.subarray(row, row + D), norm, eps, io.normWeight, io.normBias);
    for (let m = 0; m < M; m++) {
      const u = dot(normed, 0, upMatrix, m * D, D) + (upBias ? upBias[m]! : 0);
      inner[m] = gated ? activate(dot(normed, 0, up[0]!, m * D, D) + (gateBias ? gateBias[m]! : 0)) * u : activate(u);
    }
    const factor = rowGate ? rowGate[i]! : 1;
    for (let d = 0; d < D; d++) {
      x[row + d] = x[row + d]! + factor * (dot(inner, 0, down[0]!, d * M, M) + (downBias ? downBias[d]! : 0));
    }
  }
};

const wasm: WasmBinding<typeof definition> = (wasm, io, { T, R = T, D, M }, { activation, norm = 'none', eps = 0 }) => {
  const { up, down } = io;
  const upScratch = productScratch(wasm, up, R, D);
  const columns = innerColumns(M);
  // Packed f32 A comes out of the first product; int8 needs whole rows first, for their scales.
  const rowMajor = isInteger(down);
  const downScratch = productScratch(wasm, down, R, rowMajor ? M : columns);
  const inner = rowMajor ? wasm.scratch(packedBytes(R, columns * 4)) : downScratch.a;
  for (const { first, count: rows } of rowBlocks(R)) {
    const x = io.rows ? io.x : io.x + first * D * 4;
    const list = io.rows && io.rows + first * 4;
    packRows(wasm, {
      ...upScratch,
      weight: up,
      x,
      list,
      count: rows,
      K: D,
      norm: norm === 'none' ? undefined : { kind: norm, eps, weight: io.normWeight, bias: io.normBias },
    });
    innerProduct(wasm, {
      ...upScratch,
      rows,
      K: D,
      weight: up,
      M,
      out: inner,
      rowMajor,
      gateBias: io.gateBias,
      upBias: io.upBias,
      activation: ACTIVATIONS.indexOf(activation),
    });
    if (rowMajor) packRows(wasm, { ...downScratch, weight: down, x: inner, stride: columns * 4, list: 0, count: rows, K: M });
    product(wasm, {
      ...downScratch,
      aColumns: rowMajor ? M : columns,
      rows,
      K: M,
      weight: down,
      N: D,
      y: x,
      outRows: list,
      bias: io.downBias,
      activation: 0,
      accumulate: true,
      rowGate: io.rowGate && io.rowGate + first * 4,
    });
  }
};

const webgpu: GpuBinding<typeof definition> = (gpu, io, { T, R = T, D, M }, { activation, norm = 'none', eps = 0 }) => {
  const { x, rows, up, gateBias, upBias, down, downBias, rowGate } = io;
  const source = wholeQuads(gpu, x, R, D, rows);
  const normWeight = io.normWeight && wholeQuads(gpu, io.normWeight, 1, D).x;
  const normBias = io.normBias && wholeQuads(gpu, io.normBias, 1, D).x;
  // As int8 the rows are normalised when they are quantized: three dispatches in all.
  const integers = takesIntegers(gpu, up, R) && takesIntegers(gpu, down, R);
  let stats: GpuOperand | undefined;
  // An RMSNorm is part of the products.
  if (norm === 'layer' && !integers) {
    stats = gpu.scratch(R * 16);
    gpu.dispatch(statsKernel, [source.x, source.rows, stats], { R, D, hasRows: !!source.rows, eps }, [R]);
  }
  const norms = { stats, normWeight, normBias, eps };
  const inner = { ...source, ...norms, K: D, weight: up, M, activation: ACTIVATIONS.indexOf(activation), gateBias, upBias };
  const outer = { K: M, weight: down, N: D, y: x, bias: downBias, outRows: rows, rowGate, accumulate: true };
  const rowBytes = quadsOf(M) * 16;
  const block = Math.max(1, Math.min(R, Math.floor(INNER_BYTES / Math.max(rowBytes, 1))));
  const h = scratchRows(gpu, block, M, integers);
  const normed = norm === 'none' ? undefined : { kind: norm, eps, weight: normWeight!, bias: normBias };
  for (let start = 0; start < R; start += block) {
    const count = Math.min(block, R - start);
    const from = integers ? quantizeRows(gpu, { ...source, count, K: D, start }, normed) : source.x;
    gpuInnerProduct(gpu, { ...inner, x: from, h, count, start });
    gpuProduct(gpu, { ...outer, x: h, count, rowOffset: start, start });
  }
};

/**
 * `x[rows] += rowGate * FFN(norm(x[rows]))` in place; the other rows are not touched. Without `rows` all rows run.
 *
 * `up` is one matrix [M, D]: `FFN(h) = down(act(up(h)))`; or a gate and up pair: `down(act(gate(h)) * up(h))`.
 * x [T, D], rows [R], normWeight and normBias [D], gateBias and upBias [M], downBias [D], rowGate [R].
 * The FFN of Skip-Vision (arXiv 2503.21817): skipped visual tokens are the rows that are not listed.
 */
export const gatheredFfn: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const gatheredFfnOnWasm: Op<typeof definition> = { definition, wasm };
export const gatheredFfnOnWebGpu: Op<typeof definition> = { definition, webgpu };
