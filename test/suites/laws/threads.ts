/** Several threads give the bits of one, at sizes that split unevenly into calls. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { Op } from '../../../src/backend/bound-op.ts';
import { attention, gatheredFfn, linear } from '../../../src/ops/index.ts';
import { type BackendCase, identical, ok } from '../../harness.ts';
import { apply, f32, matrix, out, packedAs, pair, place, storedAsF16, u32, type Values } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { FFN } from './ffn.ts';
import type { Law } from './law.ts';

/** More numbers than memory holds at first, so that it grows while workers are running. */
const LARGE = 6_000_000;

export function threadLaws({ createAlone }: BackendCase, law: Law): void {
  if (!createAlone) return;
  const same = async (backend: Backend, op: Op, values: Values, attrs: object, what: string) => {
    await using alone = await createAlone();
    const want = await apply(alone, op, values, attrs);
    for (let round = 0; round < 3; round++) {
      const got = await apply(backend, op, values, attrs);
      for (const name of Object.keys(want)) identical(got[name]!, want[name]!, `${name} of ${what}`);
    }
  };

  law('linear: several threads give the bits of one', async (backend) => {
    ok(backend.features.has('threads'), 'this backend has one thread');
    for (const [T, K, N] of [
      [1, 1, 33],
      [1, 67, 1000],
      [2, 5, 65],
      [3, 64, 96],
      [5, 33, 257],
      [13, 19, 31],
      [29, 7, 511],
      [530, 3, 70],
    ] as const) {
      const random = new Random(T + N);
      const values = {
        x: f32(random.normal(T * K), T, K),
        weight: matrix(random.normal(N * K), N, K),
        bias: f32(random.normal(N), N),
        y: out(T, N),
      };
      await same(backend, linear, values, { activation: 'gelu' }, `[${T}, ${K}] x [${K}, ${N}]`);
    }
  });
  law('gathered_ffn: several threads give the bits of one', async (backend) => {
    for (const [T, D, M] of [
      [1, 40, 333],
      [19, 36, 75],
      [27, 70, 130],
      [300, 9, 41],
    ] as const) {
      const random = new Random(M);
      const values: Values = {
        x: f32(random.normal(T * D), T, D),
        normWeight: f32(random.normal(D), D),
        up: pair(random.normal(M * D, 0.2), random.normal(M * D, 0.2), M, D),
        upBias: f32(random.normal(M), M),
        down: matrix(random.normal(D * M, 0.2), D, M),
      };
      for (const rows of [undefined, rowLists(T).alternating]) {
        for (const dtype of backend.dtypes) {
          const packed = packedAs({ ...values, rows: rows && u32(rows) }, dtype);
          await same(backend, gatheredFfn, packed, FFN, `${rows?.length ?? 'all'} of ${T} rows, ${D} x ${M}, ${dtype}`);
        }
      }
    }
  });
  law('attention: several threads give the bits of one', async (backend) => {
    for (const [T, S, H, Hkv, dh] of [
      [1, 70, 6, 3, 20],
      [17, 17, 4, 4, 9],
      [37, 53, 9, 3, 16],
      [600, 3, 8, 2, 4],
      [1, 150, 3, 3, 48],
    ] as const) {
      const random = new Random(S);
      const values = {
        q: f32(random.normal(T * H * dh), T, H, dh),
        k: f32(random.normal(S * Hkv * dh), S, Hkv, dh),
        v: f32(random.normal(S * Hkv * dh), S, Hkv, dh),
        qPositions: u32(Uint32Array.from({ length: T }, (_, i) => i * 2)),
        kPositions: u32(Uint32Array.from({ length: S }, (_, i) => i)),
        o: out(T, H, dh),
      };
      const attrs = { scale: 0.3, causal: true, hiddenKeys: [[2, 9, 12]] };
      const what = `${T} queries, ${S} keys, ${H}/${Hkv} heads`;
      await same(backend, attention, values, attrs, what);
      if (dh % 2 === 0) await same(backend, attention, storedAsF16(values), attrs, `${what}, f16`);
    }
  });
  law('workers see memory that has grown since they started', async (backend) => {
    await using alone = await createAlone();
    const [T, K, N] = [7, 30, 200];
    const random = new Random(8);
    const values = { x: f32(random.normal(T * K), T, K), weight: matrix(random.normal(N * K), N, K), y: out(T, N) };
    const want = await apply(alone, linear, values, {});
    using _low = backend.empty({ dtype: 'f32', shape: [LARGE] });
    const high = await place(backend, values);
    for (let round = 0; round < 5; round++) backend.run(linear as Op, high, {});
    using more = backend.empty({ dtype: 'f32', shape: [LARGE] });
    identical((await apply(backend, linear, values, {})).y!, want.y!, 'y beyond both');
    ok(more.size === LARGE, 'the tensor lives until here');
    for (const held of Object.values(high)) held.dispose();
  });
}
