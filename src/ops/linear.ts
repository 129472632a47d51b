import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, output, rowList, weight } from '../backend/op.ts';
import { packRows, product, productScratch, rowBlocks } from './product/wasm.ts';
import { product as gpuProduct, wholeQuads } from './product/webgpu.ts';
import { ACTIVATION, ACTIVATION_FUNCTIONS, ACTIVATIONS, type Activation } from './activation.ts';
import { dot } from './dot.ts';
import { normalize } from './norm.ts';

export interface LinearAttrs {
  /** Applied to the product plus bias. Default 'none'. */
  activation?: Activation;
  /** Add to y instead of overwriting it: the residual of a projection. Default false. */
  accumulate?: boolean;
  /** Of the norm, with `normWeight` only. Default 0. */
  eps?: number;
}

const definition = /* @__PURE__ */ defineOp<LinearAttrs>()({
  name: 'linear',
  attrs: {
    activation: field.optional(ACTIVATION),
    accumulate: field.optional(field.boolean),
    eps: field.optional(field.f32({ min: 0 })),
  },
  io: {
    x: input('T', 'K'),
    normWeight: optional(input('K')),
    weight: weight('N', 'K'),
    bias: optional(input('N')),
    rows: optional(rowList('R', 'T')),
    outRows: optional(rowList('O', 'U')),
    y: output('U', 'N'),
  },
  check({ dims, fail }) {
    const count = dims.R ?? dims.T;
    if (dims.O !== undefined && dims.O !== count) fail('outRows', `${dims.O} rows`, `${count} rows, one for each result row`);
    if (dims.O === undefined && dims.U !== count)
      fail('y', `[${dims.U}, ${dims.N}]`, `[${count}, ${dims.N}], one row for each row of x that is used`);
  },
  cost: ({ T, R = T, K, N }) => ({ flops: 2 * R * K * N, bytes: 4 * (R * K + N * K + R * N) }),
});

const reference: ReferenceBinding<typeof definition> = (
  { x, normWeight, weight, bias, rows, outRows, y },
  { T, R = T, K, N },
  { activation = 'none', accumulate = false, eps = 0 },
) => {
  const activate = ACTIVATION_FUNCTIONS[activation];
  const normed = new Float64Array(K);
  for (let i = 0; i < R; i++) {
    const from = (rows ? rows[i]! : i) * K;
    normalize(normed, x.subarray(from, from + K), normWeight ? 'rms' : 'none', eps, normWeight);
    const to = (outRows ? outRows[i]! : i) * N;
    for (let n = 0; n < N; n++) {
      const value = activate((bias ? bias[n]! : 0) + dot(normed, 0, weight[0]!, n * K, K));
      y[to + n] = accumulate ? y[to + n]! + value : value;
    }
  }
};

const wasm: WasmBinding<typeof definition> = (wasm, io, { T, R = T, K, N }, { activation = 'none', accumulate = false, eps = 0 }) => {
  const { weight } = io;
  const norm = io.normWeight ? { kind: 'rms' as const, eps, weight: io.normWeight, bias: 0 } : undefined;
  const scratch = productScratch(wasm, weight, R, K);
  for (const { first, count } of rowBlocks(R)) {
    const x = io.rows ? io.x : io.x + first * K * 4;
    packRows(wasm, { ...scratch, weight, x, list: io.rows && io.rows + first * 4, count, K, norm });
    product(wasm, {
      ...scratch,
      rows: count,
      K,
      weight,
      N,
      accumulate,
      rowGate: 0,
      y: io.outRows ? io.y : io.y + first * N * 4,
      outRows: io.outRows && io.outRows + first * 4,
      bias: io.bias,
      activation: ACTIVATIONS.indexOf(activation),
    });
  }
};

const webgpu: GpuBinding<typeof definition> = (gpu, io, { T, R = T, K, N }, { activation = 'none', accumulate, eps }) => {
  const whole = wholeQuads(gpu, io.x, R, K, io.rows);
  const normWeight = io.normWeight && wholeQuads(gpu, io.normWeight, 1, K).x;
  const { weight, bias, outRows, y } = io;
  const options = { normWeight, eps, bias, outRows, accumulate, activation: ACTIVATIONS.indexOf(activation) };
  gpuProduct(gpu, { ...whole, count: R, K, weight, N, y, ...options });
};

/**
 * `y[outRows[i]] = act(n W^T + bias)`, or `+=` with `accumulate`, where n is x[rows[i]], with `normWeight` its RMSNorm.
 * x [T, K], W [N, K], bias [N], normWeight [K], y [U, N].
 * Without `rows` every row of x is used; without `outRows` row i of the result is row i of y. Rows of y that are not
 * listed keep their value to the bit.
 */
export const linear: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const linearOnWasm: Op<typeof definition> = { definition, wasm };
export const linearOnWebGpu: Op<typeof definition> = { definition, webgpu };
