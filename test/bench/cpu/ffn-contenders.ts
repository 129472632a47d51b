/** The ways to compute a SwiGLU FFN that the tables compare. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { WeightDType } from '../../../src/backend/weight.ts';
import { gatheredFfn } from '../../../src/ops/gathered-ffn.ts';
import { transpose } from '../onnx.ts';
import { type FfnData, giga } from './data.ts';
import type { Contender, Tensorflow } from './peers.ts';

/** Quantized dtypes may not be there yet: pack says so. */
export type BenchDType = WeightDType | 'f16' | 'q8' | 'q4';
const ATTRS = { activation: 'silu' } as const;
/** For comparison the result is scaled up, so that adding it to x rounds off nothing that matters. */
const SCALE = 1000;

export interface OwnFfn extends Contender {
  /** The listed rows only. */
  gathered(rows: Uint32Array): Contender['call'];
  /** Bytes of the packed weights. */
  weightBytes: number;
}

/** Throws 'unsupported' when the backend does not pack that dtype. */
export async function ownFfn(backend: Backend, data: FfnData, dtype: BenchDType = 'f32'): Promise<OwnFfn> {
  const { tokens, hidden, inner, input } = data;
  const options = { dtype: dtype as WeightDType };
  const wide = [inner, hidden] as const;
  const up = await backend.pack({ gate: { data: data.gate, shape: wide }, up: { data: data.up, shape: wide } }, options);
  const down = await backend.pack({ data: data.down, shape: [hidden, inner] }, options);
  const x = backend.upload(input, [tokens, hidden]);
  const made: Disposable[] = [up, down, x];
  return {
    weightBytes: up.bytes + down.bytes,
    call: () => backend.run(gatheredFfn, { x, up, down }, ATTRS),
    async result() {
      using fresh = backend.upload(input, [tokens, hidden]);
      using rowGate = backend.upload(new Float32Array(tokens).fill(SCALE));
      backend.run(gatheredFfn, { x: fresh, up, down, rowGate }, ATTRS);
      return (await backend.read(fresh)).map((value, i) => (value - input[i]!) / SCALE);
    },
    gathered(list) {
      const rows = backend.upload(list);
      made.push(rows);
      return () => backend.run(gatheredFfn, { x, rows, up, down }, ATTRS);
    },
    release() {
      for (const each of made) each[Symbol.dispose]();
    },
  };
}

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
