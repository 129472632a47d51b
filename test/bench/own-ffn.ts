/** Our SwiGLU FFN, as the tables call it. */
import type { Backend } from '../../src/backend/backend.ts';
import type { WeightDType } from '../../src/backend/weight.ts';
import { gatheredFfn } from '../../src/ops/gathered-ffn.ts';
import { type Build, duel } from './against.ts';
import type { FfnData } from './data.ts';
import type { Effort, Ratio } from './measure.ts';

/** Quantized dtypes may not be there yet: pack says so. */
export type BenchDType = WeightDType | 'f16' | 'q8' | 'q4';
const ATTRS = { activation: 'silu' } as const;
/** For comparison the result is scaled up, so that adding it to x rounds off nothing that matters. */
const SCALE = 1000;

export interface OwnFfn {
  /** x += FFN(x) on all rows of x. */
  call(): void;
  /** FFN(x), of the input. */
  result(): Promise<Float32Array>;
  /** The same call for the listed rows only. */
  gathered(rows: Uint32Array): () => void;
  /** Copies x out, when all calls before are done. */
  read(): Promise<Float32Array>;
  release(): void;
  /** Bytes of the packed weights. */
  weightBytes: number;
}

/** Throws 'unsupported' when the backend does not pack that dtype. `op` may be a variant of the op. */
export async function ownFfn(backend: Backend, data: FfnData, dtype: BenchDType = 'f32', op = gatheredFfn): Promise<OwnFfn> {
  const { tokens, hidden, inner, input } = data;
  const options = { dtype: dtype as WeightDType };
  const wide = [inner, hidden] as const;
  const up = await backend.pack({ gate: { data: data.gate, shape: wide }, up: { data: data.up, shape: wide } }, options);
  const down = await backend.pack({ data: data.down, shape: [hidden, inner] }, options);
  const x = backend.upload(input, [tokens, hidden]);
  const made: Disposable[] = [up, down, x];
  return {
    weightBytes: up.bytes + down.bytes,
    call: () => backend.run(op, { x, up, down }, ATTRS),
    async result() {
      using fresh = backend.upload(input, [tokens, hidden]);
      using rowGate = backend.upload(new Float32Array(tokens).fill(SCALE));
      backend.run(op, { x: fresh, up, down, rowGate }, ATTRS);
      return (await backend.read(fresh)).map((value, i) => (value - input[i]!) / SCALE);
    },
    gathered(list) {
      const rows = backend.upload(list);
      made.push(rows);
      return () => backend.run(op, { x, rows, up, down }, ATTRS);
    },
    read: () => backend.read(x),
    release() {
      for (const each of made) each[Symbol.dispose]();
    },
  };
}

/** The FFN of this build beside that of another; with `rows` of the listed ones. */
export function duelFfns(
  before: Build,
  kind: 'best' | 'plain',
  data: FfnData,
  dtype: BenchDType,
  effort: Effort,
  rows?: Uint32Array,
): Promise<Ratio> {
  return duel(before, kind, effort, async (ops, backend) => {
    const { call, gathered } = await ownFfn(backend, data, dtype, ops.gatheredFfn);
    return rows ? gathered(rows) : call;
  });
}
