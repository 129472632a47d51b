import { defineOp, input, optional, output, rowList, weight } from '../backend/op.ts';
import { packRows, product, productScratch, rowBlocks } from '../backend/wasm/product.ts';
import { product as gpuProduct, wholeQuads } from '../backend/webgpu/product.ts';
import { ACTIVATIONS, type Activation, activate, activationCode } from './activation.ts';
import { dot } from './dot.ts';

export interface LinearAttrs {
  /** Applied to the product plus bias. Default 'none'. */
  activation?: Activation;
  /** Add to y instead of overwriting it: the residual of a projection. Default false. */
  accumulate?: boolean;
}

/**
 * `y[outRows[i]] = act(x[rows[i]] W^T + bias)`, or `+=` with `accumulate`. x [T, K], W [N, K], bias [N], y [U, N].
 * Without `rows` every row of x is used; without `outRows` row i of the result is row i of y. Rows of y that are not
 * listed keep their value to the bit.
 */
export const linear = defineOp<LinearAttrs>()({
  name: 'linear',
  attrs: ['activation', 'accumulate'],
  io: {
    x: input('T', 'K'),
    weight: weight('N', 'K'),
    bias: optional(input('N')),
    rows: optional(rowList('R', 'T')),
    outRows: optional(rowList('O', 'U')),
    y: output('U', 'N'),
  },
  check({ dims, attrs, fail }) {
    checkActivation(attrs.activation ?? 'none', fail);
    const count = dims.R ?? dims.T;
    if (dims.O !== undefined && dims.O !== count) fail('outRows', `${dims.O} rows`, `${count} rows, one for each result row`);
    if (dims.O === undefined && dims.U !== count)
      fail('y', `[${dims.U}, ${dims.N}]`, `[${count}, ${dims.N}], one row for each row of x that is used`);
  },
  cost: ({ T, R = T, K, N }) => ({ flops: 2 * R * K * N, bytes: 4 * (R * K + N * K + R * N) }),
  reference({ x, weight, bias, rows, outRows, y }, { T, R = T, K, N }, { activation = 'none', accumulate = false }) {
    const [matrix] = weight;
    for (let i = 0; i < R; i++) {
      const from = (rows ? rows[i]! : i) * K;
      const to = (outRows ? outRows[i]! : i) * N;
      for (let n = 0; n < N; n++) {
        const value = activate(activation, (bias ? bias[n]! : 0) + dot(x, from, matrix!, n * K, K));
        y[to + n] = accumulate ? y[to + n]! + value : value;
      }
    }
  },
  wasm(wasm, io, { T, R = T, K, N }, { activation = 'none', accumulate = false }) {
    const { weight } = io;
    const scratch = productScratch(wasm, weight, R, K);
    for (const { first, count } of rowBlocks(R)) {
      packRows(wasm, { ...scratch, weight, x: io.rows ? io.x : io.x + first * K * 4, list: io.rows && io.rows + first * 4, count, K });
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
        activation: activationCode(activation),
      });
    }
  },
  webgpu(gpu, io, { T, R = T, K, N }, { activation = 'none', accumulate }) {
    const whole = wholeQuads(gpu, io.x, io.rows, R, K);
    const { weight, bias, outRows, y } = io;
    gpuProduct(gpu, { ...whole, count: R, K, weight, N, y, bias, outRows, accumulate, activation: activationCode(activation) });
  },
});

export function checkActivation(activation: string, fail: (argument: string, got: unknown, expected: string) => never): void {
  if (!ACTIVATIONS.includes(activation as Activation)) fail('activation', `"${activation}"`, `one of ${ACTIVATIONS.join(', ')}`);
}
