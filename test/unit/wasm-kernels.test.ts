/** What the Wasm kernels promise beyond the conformance tolerances. Both binaries. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend, wasmMemoryOf } from '../../src/backend/wasm/driver.ts';
import { attention, attentionScores, compactKv, topKRows } from '../../src/ops/index.ts';
import { apply, f32, indexOut, out, storedAsF16, u32 } from '../operands.ts';
import { Random } from '../random.ts';

const H = 6;
const HKV = 2;

describe.each(['simd128', 'relaxed'] as const)('wasm %s', (variant) => {
  let wasm: Backend;
  let reference: Backend;
  beforeAll(async () => {
    wasm = await createWasmBackend({ variant });
    reference = createReferenceBackend();
  });
  afterAll(async () => {
    await wasm[Symbol.asyncDispose]();
    await reference[Symbol.asyncDispose]();
  });

  // 131 keys: more than one block of 128; 16 rows share a call, so that 23 queries of 3 heads end in a part of one.
  describe.each([20, 64])('attention, head width %i', (dh) => {
    const random = new Random(dh);
    const [T, S] = [23, 131];
    const qPositions = random.ascending(T, 2, S - T);
    const kPositions = Uint32Array.from({ length: S }, (_, i) => i);
    const [q, k, v, keyBias] = [random.normal(T * H * dh), random.normal(S * HKV * dh), random.normal(S * HKV * dh), random.normal(S)];
    const run = (backend: Backend, first: number, last: number, attrs: object, bias = keyBias) =>
      apply(
        backend,
        attention,
        {
          q: f32(q.slice(first * H * dh, last * H * dh), last - first, H, dh),
          k: f32(k, S, HKV, dh),
          v: f32(v, S, HKV, dh),
          qPositions: u32(qPositions.slice(first, last)),
          kPositions: u32(kPositions),
          keyBias: f32(bias, S),
          o: out(last - first, H, dh),
        },
        { scale: dh ** -0.5, causal: true, ...attrs },
      );

    test.each<[string, object]>([
      ['causal', {}],
      ['not causal', { causal: false }],
      [
        'with overlapping hidden ranges that only later queries miss',
        {
          hiddenKeys: [
            [3, 70, 115],
            [60, 129, 120],
            [9, 9, 0],
          ],
        },
      ],
    ])('a row of a prefill is the row of a decode call, to the bit: %s', async (_, attrs) => {
      const { o } = await run(wasm, 0, T, attrs);
      for (let t = 0; t < T; t++) {
        const row = await run(wasm, t, t + 1, attrs);
        expect(row.o, `query ${t}`).toEqual(o!.slice(t * H * dh, (t + 1) * H * dh));
      }
    });

    test('a key of bias -infinity contributes nothing, whatever its value row holds', async () => {
      const bias = keyBias.slice().fill(Number.NEGATIVE_INFINITY, 5, 40);
      const clean = await run(wasm, 0, T, {}, bias);
      v.fill(Number.NaN, 5 * HKV * dh, 40 * HKV * dh);
      expect(await run(wasm, 0, T, {}, bias)).toEqual(clean);
      v.set(random.normal(35 * HKV * dh), 5 * HKV * dh);
    });
  });

  // Logits of 1e42 and more, so that the largest takes all; at 1e19 only some of a row leave f32. Sums that cancel are no number on the way.
  describe.each([1e19, 1e21, 1e30])('logits beyond f32, queries and keys of %d', (size) => {
    test.each([false, true])('give the probabilities of the reference, keys stored as f16: %s', async (half) => {
      for (const [T, dh] of [
        [1, 64],
        [5, 64],
        [5, 20],
      ] as const) {
        const random = new Random(T * dh);
        const S = 37;
        const values = {
          q: f32(random.normal(T * H * dh, half ? Math.min(size * 1e16, 1e37) : size), T, H, dh),
          k: f32(random.normal(S * HKV * dh, half ? 100 : size), S, HKV, dh),
          v: f32(random.normal(S * HKV * dh), S, HKV, dh),
          qPositions: u32(Uint32Array.from({ length: T }, (_, i) => S - T + i)),
          kPositions: u32(Uint32Array.from({ length: S }, (_, i) => i)),
          keyBias: f32(random.normal(S), S),
          o: out(T, H, dh),
        };
        const stored = half ? storedAsF16(values, ['k', 'v']) : values;
        const attrs = { scale: dh ** -0.5, causal: true, hiddenKeys: [[3, 9, 35]] };
        const [got, want] = [await apply(wasm, attention, stored, attrs), await apply(reference, attention, stored, attrs)];
        (got.o as Float32Array).forEach((value, i) => void expect(value, `o[${i}]`).toBeCloseTo(want.o![i]!, 5));
        const { q, o, qPositions, v, ...keys } = stored;
        const scored = { ...keys, q: f32(values.q.f32.slice(0, H * dh), H, dh), scores: out(S) };
        const options = { scale: dh ** -0.5, causal: false, qPosition: 0, reduce: 'mean' };
        const [scores, expected] = [
          await apply(wasm, attentionScores, scored, options),
          await apply(reference, attentionScores, scored, options),
        ];
        (scores.scores as Float32Array).forEach((value, i) => void expect(value, `scores[${i}]`).toBeCloseTo(expected.scores![i]!, 5));
      }
    });
  });

  test('attention_scores sum to the number of heads within 1e-6, also where most logits underflow', async () => {
    const random = new Random(5);
    for (const scale of [0.1, 1, 40]) {
      const values = {
        q: f32(random.normal(H * 8), H, 8),
        k: f32(random.normal(333 * HKV * 8), 333, HKV, 8),
        kPositions: u32(random.ascending(333)),
        scores: out(333),
      };
      const { scores } = await apply(wasm, attentionScores, values, { scale, causal: false, qPosition: 0, reduce: 'sum' });
      expect(Math.abs((scores as Float32Array).reduce((sum, score) => sum + score, 0) / H - 1)).toBeLessThan(1e-6);
    }
  });

  test('top_k_rows agrees with a sort at 65537 rows of few, subnormal or special values', async () => {
    const random = new Random(6);
    const N = 65537;
    const special = [0, -0, 1e-45, -1e-45, 1, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (const draw of [() => special[random.below(8)]!, () => 1e-42 * (random.below(500) - 250), () => 1 + random.below(4) * 2 ** -23]) {
      const scores = Float32Array.from({ length: N }, draw);
      const attrs = {
        k: 30001,
        alwaysKeep: [
          [7, 19],
          [15, 1000],
        ] as const,
      };
      const values = { scores: f32(scores, N), rows: indexOut(attrs.k + 993) };
      expect(await apply(wasm, topKRows, values, attrs)).toEqual(await apply(reference, topKRows, values, attrs));
    }
  });

  // Runs of kept rows from 512 bytes on move by memory.copy, shorter ones by a loop of vectors.
  test.each([1, 3, 8, 63, 64, 65, 130])('compact_kv in place is compact_kv out of place, to the bit, rows of %i numbers', async (W) => {
    const random = new Random(W);
    const [A, S] = [3, 57];
    const keep = Uint32Array.from({ length: S }, (_, i) => i).filter((i) => (i > 20 && i < 40) || random.below(3) > 0);
    const R = keep.length;
    const caches = { k: f32(random.normal(A * S * W), A, S, W), v: f32(random.normal(A * S * W), A, S, W), keep: u32(keep) };
    const inPlace = await apply(wasm, compactKv, caches, {});
    const apart = await apply(wasm, compactKv, { ...caches, kOut: out(A, R, W), vOut: out(A, R, W) }, {});
    for (let a = 0; a < A; a++) {
      const kept = (cache: Float32Array) => cache.slice(a * S * W, (a * S + R) * W);
      expect(kept(inPlace.k as Float32Array)).toEqual(apart.kOut!.slice(a * R * W, (a + 1) * R * W));
      expect(kept(inPlace.v as Float32Array)).toEqual(apart.vOut!.slice(a * R * W, (a + 1) * R * W));
    }
  });

  test('kernels keep to their memory: operands at the very end of it, with nothing to read behind', async () => {
    const linear = wasmMemoryOf(wasm);
    const [S, dh] = [5, 7];
    const random = new Random(9);
    const end = linear.memory.buffer.byteLength;
    const at = (data: Float32Array, shape: readonly number[]) => {
      new Float32Array(linear.memory.buffer, end - data.byteLength, data.length).set(data);
      return wasm.borrow({ memory: linear.memory, pointer: end - data.byteLength }, { dtype: 'f32', shape });
    };
    const [q, k, v, bias] = [random.normal(dh), random.normal(S * dh), random.normal(S * dh), random.normal(S)];
    const positions = u32(Uint32Array.of(0, 1, 2, 3, 4));
    const plain = {
      q: f32(q, 1, 1, dh),
      k: f32(k, S, 1, dh),
      v: f32(v, S, 1, dh),
      keyBias: f32(bias, S),
      qPositions: u32(Uint32Array.of(9)),
      kPositions: positions,
      o: out(1, 1, dh),
    };
    const attrs = { scale: 1, causal: true };
    const { o: want } = await apply(wasm, attention, plain, attrs);
    for (const [name, data] of Object.entries({ q, k, v, keyBias: bias })) {
      const others = Object.fromEntries(
        Object.entries(plain)
          .filter(([other]) => other !== name)
          .map(([other, value]) => [other, 'u32' in value ? wasm.upload(value.u32) : wasm.upload(value.f32, value.shape)]),
      );
      wasm.run(attention, { ...others, [name]: at(data, plain[name as 'q'].shape) } as never, attrs);
      expect(await wasm.read(others.o!), name).toEqual(want);
      for (const tensor of Object.values(others)) tensor.dispose();
    }
  });
});
