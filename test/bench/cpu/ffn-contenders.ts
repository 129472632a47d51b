/** The other ways to compute a SwiGLU FFN that the tables compare. */
import { transpose } from '../onnx.ts';
import { type FfnData, giga } from '../data.ts';
import type { Contender, Tensorflow } from './peers.ts';

export function tensorflowFfn(tf: Tensorflow, data: FfnData): Contender {
  const { tokens, hidden, inner } = data;
  // [in, out]: a transposed operand would take its slow path
  const [x, gate, up, down] = [
    tf.tensor2d(data.input, [tokens, hidden]),
    tf.tensor2d(transpose(data.gate, inner, hidden), [hidden, inner]),
    tf.tensor2d(transpose(data.up, inner, hidden), [hidden, inner]),
    tf.tensor2d(transpose(data.down, hidden, inner), [inner, hidden]),
  ];
  const once = () =>
    tf.tidy(() => {
      const g = tf.matMul(x, gate);
      return tf.matMul(tf.mul(tf.mul(g, tf.sigmoid(g)), tf.matMul(x, up)), down).dataSync();
    });
  const release = () => {
    for (const tensor of [x, gate, up, down]) tensor.dispose();
  };
  return { call: once, result: async () => once(), release };
}

/** Rows that plain loops run on: their rate is the same for any number of rows, and more would take seconds. */
const LOOP_ROWS = 4;

/** Plain typed-array loops, with four sums at a time: the fastest of several. Runs on up to 4 rows. */
export function loopFfn(data: FfnData): Contender & { gflops(ms: number): number } {
  const { hidden, inner } = data;
  const tokens = Math.min(LOOP_ROWS, data.tokens);
  const [g, u, y] = [new Float32Array(tokens * inner), new Float32Array(tokens * inner), new Float32Array(tokens * hidden)];
  const call = () => {
    loops(data.input, data.gate, g, tokens, inner, hidden);
    loops(data.input, data.up, u, tokens, inner, hidden);
    for (let i = 0; i < g.length; i++) g[i] = (g[i]! / (1 + Math.exp(-g[i]!))) * u[i]!;
    loops(g, data.down, y, tokens, hidden, inner);
  };
  const result = async () => {
    call();
    return y;
  };
  return { call, result, release() {}, gflops: (ms) => giga(6 * tokens * hidden * inner, ms) };
}

/** y [rows, N] = x [rows, K] w^T, w [N, K]; K a multiple of 4. */
function loops(x: Float32Array, w: Float32Array, y: Float32Array, rows: number, N: number, K: number): void {
  for (let row = 0; row < rows; row++) {
    for (let n = 0; n < N; n++) {
      const [a, b] = [row * K, n * K];
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let k = 0; k < K; k += 4) {
        s0 += x[a + k]! * w[b + k]!;
        s1 += x[a + k + 1]! * w[b + k + 1]!;
        s2 += x[a + k + 2]! * w[b + k + 2]!;
        s3 += x[a + k + 3]! * w[b + k + 3]!;
      }
      y[row * N + n] = s0 + s1 + s2 + s3;
    }
  }
}
