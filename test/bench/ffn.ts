/** The f32 SwiGLU FFN: dense and gathered on the wasm backend, against onnxruntime-web wasm on one thread. */
import * as ort from 'onnxruntime-web/wasm';
import type { Backend } from '../../src/backend/backend.ts';
import { gatheredFfn } from '../../src/ops/gathered-ffn.ts';
import { Random } from '../random.ts';
import { type Effort, measureInTurn, ratio } from './measure.ts';
import { swigluModel } from './onnx.ts';

export interface FfnRow {
  tokens: number;
  hidden: number;
  inner: number;
  ours_ms: number;
  ours_gflops: number;
  ort_ms: number;
  ort_gflops: number;
  /** Time of onnxruntime-web over ours. */
  speedup: number;
  /** A quarter of the rows through a list, over all rows. */
  gathered_over_all: number;
  /** A quarter of the rows through a list, over the dense FFN on as many rows. */
  gathered_over_dense: number;
  /** Largest difference to onnxruntime-web's result over its largest value. */
  difference: number;
}

export async function benchFfn(
  backend: Backend,
  [tokens, hidden, inner]: readonly [number, number, number],
  effort: Effort,
): Promise<FfnRow> {
  const random = new Random(tokens + hidden + inner);
  const uniform = (length: number, scale: number) => Float32Array.from({ length }, () => scale * (2 * random.unit() - 1));
  const gate = uniform(inner * hidden, 2 / Math.sqrt(hidden));
  const up = uniform(inner * hidden, 2 / Math.sqrt(hidden));
  // small: x grows by the result of every call, and must stay an ordinary number over thousands of them
  const down = uniform(hidden * inner, 1e-3 / Math.sqrt(inner));
  const input = uniform(tokens * hidden, 1);

  using upWeight = await backend.pack({ gate: { data: gate, shape: [inner, hidden] }, up: { data: up, shape: [inner, hidden] } });
  using downWeight = await backend.pack({ data: down, shape: [hidden, inner] });
  using x = backend.upload(input, [tokens, hidden]);
  const quarter = Math.floor(tokens / 4);
  using rows = backend.upload(Uint32Array.from({ length: quarter }, (_, i) => 4 * i + (i % 4)));
  using few = backend.upload(input.slice(0, quarter * hidden), [quarter, hidden]);
  const attrs = { activation: 'silu' } as const;
  const weights = { up: upWeight, down: downWeight };

  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const model = swigluModel('f32', hidden, inner, { gate, up, down });
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  const feed = { x: new ort.Tensor('float32', input, [tokens, hidden]) };
  try {
    const theirs = (await session.run(feed)).y!.data as Float32Array;
    backend.run(gatheredFfn, { x, ...weights }, attrs);
    const ours = (await backend.read(x)).map((value, i) => value - input[i]!);
    const all = () => backend.run(gatheredFfn, { x, ...weights }, attrs);
    const times = await measureInTurn({ ours: all, ort: () => session.run(feed) }, effort);
    // by themselves: whoever runs behind the peer finds the caches full of the peer's weights
    const shares = await measureInTurn(
      {
        gathered: () => backend.run(gatheredFfn, { x, rows, ...weights }, attrs),
        dense: () => backend.run(gatheredFfn, { x: few, ...weights }, attrs),
        all,
      },
      effort,
    );
    const gflops = (ms: number) => (6 * tokens * hidden * inner) / ms / 1e6;
    return {
      tokens,
      hidden,
      inner,
      ours_ms: times.ours.median,
      ours_gflops: gflops(times.ours.median),
      ort_ms: times.ort.median,
      ort_gflops: gflops(times.ort.median),
      speedup: ratio(times.ort, times.ours).median,
      gathered_over_all: ratio(shares.gathered, shares.all).median,
      gathered_over_dense: ratio(shares.gathered, shares.dense).median,
      difference: largestDifference(ours, theirs),
    };
  } finally {
    await session.release();
  }
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  let difference = 0;
  let peak = 0;
  b.forEach((value, i) => {
    difference = Math.max(difference, Math.abs(a[i]! - value));
    peak = Math.max(peak, Math.abs(value));
  });
  return difference / peak;
}
