import { type AttentionAttrs, type AttentionScoresAttrs, attention, attentionScores, type HiddenKeys } from '../../src/ops/index.ts';
import { type F32, f32, out, storedAsF16, type U32, u32 } from '../operands.ts';
import type { Random } from '../random.ts';
import { EVEN, NONEMPTY, type OpRow, star, TURNING_POINTS } from './row.ts';

type Sizes = {
  T: number;
  S: number;
  /** Cache rows beyond S, which must not be read as keys. */
  spare: number;
  Hkv: number;
  group: number;
  dh: number;
};

const BASE: Sizes = { T: 5, S: 13, spare: 0, Hkv: 2, group: 2, dh: 12 };

export function attentionOperands(
  random: Random,
  { T, S, spare, Hkv, group, dh }: Sizes,
): Record<'q' | 'k' | 'v' | 'o', F32> & Record<'qPositions' | 'kPositions', U32> {
  const C = S + spare;
  const kPositions = random.ascending(S);
  // The queries are the last rows of a sequence, as in a chunk of prefill: they see most keys, not all.
  const start = Math.max(0, (kPositions[S - 1] ?? 0) - T);
  return {
    q: f32(random.normal(T * Hkv * group * dh), T, Hkv * group, dh),
    k: f32(random.normal(C * Hkv * dh), C, Hkv, dh),
    v: f32(random.normal(C * Hkv * dh), C, Hkv, dh),
    qPositions: u32(random.ascending(T, 2, start)),
    kPositions: u32(kPositions),
    o: out(T, Hkv * group, dh),
  };
}

export const attentionRow: OpRow = {
  op: attention,
  *cases(random) {
    const axes = {
      T: TURNING_POINTS,
      S: [...TURNING_POINTS, 31, 32, 33, 300],
      spare: [1, 5],
      Hkv: [1, 3, 4, 5, 8, 9],
      group: [1, 3, 4, 7, 8],
      dh: [...TURNING_POINTS, 60, 68, 124, 128, 132, 260],
    };
    for (const { title, ...sizes } of star(BASE, axes)) {
      for (const causal of [true, false]) {
        const attrs: AttentionAttrs = { scale: 1 / Math.sqrt(sizes.dh || 1), causal };
        yield { title: `${title}${causal ? ', causal' : ''}`, values: attentionOperands(random, sizes), attrs, sums: sizes.dh + sizes.S };
      }
    }
    const even = { T: [1, 3, 4, 5, 16, 17], S: TURNING_POINTS, spare: [1], Hkv: [1, 3, 8], group: [1, 3, 8], dh: [...EVEN, 24, 128] };
    for (const { title, ...sizes } of star(BASE, even)) {
      const attrs: AttentionAttrs = { scale: 1 / Math.sqrt(sizes.dh || 1), causal: sizes.T % 2 > 0 };
      yield { title: `f16, ${title}`, values: storedAsF16(attentionOperands(random, sizes)), attrs, sums: sizes.dh + sizes.S };
    }
    // One query, whose key/value heads wasm reads together: all of them, the last one alone, in several passes.
    for (const [Hkv, group, dh] of [
      [3, 3, 64],
      [9, 1, 128],
      [4, 1, 32],
      [5, 2, 260],
    ] as const) {
      const attrs: AttentionAttrs = { scale: dh ** -0.5, causal: true, hiddenKeys: [[20, 40, 0]] };
      const title = `one query, Hkv = ${Hkv}, group = ${group}, dh = ${dh}`;
      const values = attentionOperands(random, { ...BASE, T: 1, S: 140, spare: 1, Hkv, group, dh });
      yield { title, values, attrs, sums: dh + 140 };
      yield { title: `f16, ${title}`, values: storedAsF16(values), attrs, sums: dh + 140 };
    }
    // A long cache in several passes, and numbers so small that f16 has few bits for them.
    const long = attentionOperands(random, { ...BASE, T: 1, S: 700, dh: 8 });
    yield { title: 'f16, S = 700', values: storedAsF16(long), attrs: { scale: 0.3, causal: true }, sums: 708 };
    const small = attentionOperands(random, { ...BASE, dh: 16 });
    const shrunk = {
      ...small,
      q: f32(
        small.q.f32.map((x) => x * 1e5),
        ...small.q.shape,
      ),
      k: f32(
        small.k.f32.map((x) => x * 1e-5),
        ...small.k.shape,
      ),
    };
    yield { title: 'f16, subnormal keys', values: storedAsF16(shrunk), attrs: { scale: 0.3, causal: true }, sums: 40 };
    const square = { ...BASE, T: 19, S: 19 };
    const positions = u32(Uint32Array.from({ length: 19 }, (_, i) => i));
    const inOrder = () => ({ ...attentionOperands(random, square), qPositions: positions, kPositions: positions });
    const attrs: AttentionAttrs = { scale: 0.3, causal: true };
    yield { title: 'prefill', values: inOrder(), attrs, sums: 40 };
    yield { title: 'one hidden block', values: inOrder(), attrs: { ...attrs, hiddenKeys: [[3, 9, 11]] }, sums: 40 };
    yield { title: 'f16, one hidden block', values: storedAsF16(inOrder()), attrs: { ...attrs, hiddenKeys: [[3, 9, 11]] }, sums: 40 };
    yield {
      title: 'two hidden blocks',
      values: inOrder(),
      attrs: {
        ...attrs,
        hiddenKeys: [
          [0, 4, 6],
          [8, 12, 13],
        ],
      },
      sums: 40,
    };
    yield { title: 'all keys hidden from some', values: inOrder(), attrs: { ...attrs, hiddenKeys: [[0, 19, 15]] }, sums: 40 };
    yield { title: 'key bias', values: { ...inOrder(), keyBias: f32(random.normal(19, 2), 19) }, attrs, sums: 40 };
    yield { title: 'sharp logits', values: inOrder(), attrs: { ...attrs, scale: 40 }, sums: 40 * 40 ** 2 };
    // More than one tile of keys, some of them invisible to everyone; what they hold must not matter.
    const tail = attentionOperands(random, { ...BASE, T: 9, S: 140 });
    const onward = { ...tail, qPositions: u32(Uint32Array.from({ length: 9 }, (_, i) => 1000 + i)) };
    const between = tail.kPositions.u32.slice();
    const hiddenKeys: HiddenKeys[] = [[between[20]!, between[110]!, 1000]];
    const spoilt = tail.v.f32.slice();
    spoilt.fill(Number.POSITIVE_INFINITY, (spoilt.length / 140) * 64, (spoilt.length / 140) * 65);
    const values = { ...onward, v: f32(spoilt, ...tail.v.shape) };
    yield { title: 'a long hidden block', values, attrs: { scale: 0.3, causal: true, hiddenKeys }, sums: 152 };
    yield {
      title: 'f16, a long hidden block',
      values: storedAsF16({ ...onward }),
      attrs: { scale: 0.3, causal: false, hiddenKeys },
      sums: 152,
    };
    const bias = Float32Array.from({ length: 19 }, (_, i) => (i % 3 ? 0 : -1e30));
    yield { title: 'a key bias that masks', values: { ...inOrder(), keyBias: f32(bias, 19) }, attrs, sums: 40 };
    yield { title: 'a key bias that masks all keys', values: { ...inOrder(), keyBias: f32(bias.fill(-1e30), 19) }, attrs, sums: 40 };
    const late = u32(random.ascending(19, 3, 1000));
    yield { title: 'no visible key', values: { ...inOrder(), kPositions: late }, attrs, sums: 40 };
  },
};

export const attentionScoresRow: OpRow = {
  op: attentionScores,
  *cases(random) {
    const axes = { S: [...TURNING_POINTS, 300], spare: [1, 5], Hkv: [1, 3, 4, 8], group: [1, 3, 4, 7], dh: [...NONEMPTY, 128] };
    for (const { title, ...sizes } of star(BASE, axes)) {
      for (const reduce of ['mean', 'sum'] as const) {
        const { q, k, kPositions } = attentionOperands(random, { ...sizes, T: 1 });
        const { S, dh, Hkv, group } = sizes;
        const keyBias = S % 2 ? f32(random.normal(S), S) : undefined;
        const causal = reduce === 'mean';
        const attrs: AttentionScoresAttrs = { qPosition: S, causal, scale: 1 / Math.sqrt(dh), reduce };
        const query = { ...q, shape: [Hkv * group, dh] };
        yield {
          title: `${title}, ${reduce}`,
          values: { q: query, k, kPositions, keyBias, scores: out(S) },
          attrs,
          sums: dh + S + Hkv * group,
        };
      }
    }
    for (const { title, ...sizes } of star(BASE, {
      S: [1, 4, 5, 17, 300],
      spare: [1],
      Hkv: [1, 3],
      group: [1, 2, 3],
      dh: [...EVEN.slice(1), 128],
    })) {
      const { q, k, kPositions } = attentionOperands(random, { ...sizes, T: 1 });
      const { S, dh, Hkv, group } = sizes;
      const attrs: AttentionScoresAttrs = { qPosition: 3 * S - 4, causal: true, scale: 1 / Math.sqrt(dh), reduce: 'mean' };
      const values = storedAsF16({ q: { ...q, shape: [Hkv * group, dh] }, k, kPositions, scores: out(S) });
      yield { title: `f16, ${title}`, values, attrs: { ...attrs, qPosition: Math.max(0, attrs.qPosition) }, sums: dh + S + Hkv * group };
    }
    const { q, k } = attentionOperands(random, { ...BASE, T: 1 });
    const kPositions = u32(random.ascending(BASE.S, 3, 100));
    const attrs: AttentionScoresAttrs = { qPosition: 7, causal: true, scale: 1, reduce: 'mean' };
    const values = { q: { ...q, shape: [4, 12] }, k, kPositions, scores: out(BASE.S) };
    yield { title: 'no visible key', values, attrs, sums: 1 };
  },
};
