/** The FastV cases. */
import { type FastVRounding, fastVKvBytes, keptImageRows, publishedFastVMacs } from '../../src/cost/fastv.ts';
import { fastV } from '../../src/methods/fastv.ts';
import type { KvCache } from '../../src/model/stack/kv-cache.ts';
import { assemble, range, type Rows, type Segment } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import { attentionScores, topKRows } from '../../src/ops/index.ts';
import type { CaseInputs } from './inputs.ts';
import type { CaseFunction } from './ops.ts';
import { decoderResults, decoderSizes, list, loadDecoder, reals, stepsOf } from './decoder-case.ts';

export const FASTV_CASES: Readonly<Record<string, CaseFunction>> = {
  async fastv_select(inputs, attrs) {
    const n = inputs.shape('k')[0]!;
    const [start, length] = [attrs.image_start as number, attrs.image_length as number];
    const scores = inputs.empty(n);
    score(inputs, attrs.criterion as string, { n, scale: attrs.scale as number }, scores);
    const k = keptImageRows(length, attrs.ratio as number, attrs.rounding as FastVRounding);
    const rows = inputs.emptyList(n - length + k);
    const alwaysKeep = [
      [0, start],
      [start + length, n],
    ] as const;
    inputs.backend.run(topKRows, { scores, rows }, { k, alwaysKeep });
    return { scores: await inputs.read(scores), keep: await inputs.read(rows) };
  },

  async fastv_decoder(inputs, attrs) {
    const { backend } = inputs;
    const embeds = inputs.tensor('embeds');
    const [n, width] = embeds.shape as [number, number];
    const [start, length] = [attrs.image_start as number, attrs.image_length as number];
    const segments = [
      { kind: 'text', start: 0, end: start },
      { kind: 'image', start, end: start + length },
      { kind: 'text', start: start + length, end: n },
    ].filter((segment): segment is Segment => segment.end > segment.start);
    const rows: Rows = { order: range(0, n), segments };
    const method = fastV({ k: attrs.k_layers as number, r: attrs.ratio as number, rounding: attrs.rounding as FastVRounding });
    using decoder = await loadDecoder(inputs, attrs);
    const work = new Work(backend);
    const tensor = () => Promise.reject(new Error('FastV has no parameter'));
    using run = await method.start({ work, depth: { tower: 0, decoder: decoder.spec.blocks.length }, tensor });
    const prefill = async (cache: KvCache, outputRows?: Uint32Array) => {
      const { x } = assemble(work, [{ kind: 'text', rows: embeds }], width);
      return (await decoder.prefill({ x, rows }, { cache, run, outputRows })).hidden;
    };
    // Which rows stay is known behind a first prefill only, and whose results are wanted is said in front of it.
    using first = decoder.makeCache({ room: 0 });
    (await prefill(first)).dispose();
    const keep = first.order(first.layers - 1).slice();
    using cache = decoder.makeCache({ room: stepsOf(inputs) });
    using hidden = await prefill(cache, keep);
    return await decoderResults(inputs, { decoder, cache, hidden, rows: keep });
  },

  async fastv_cost(_inputs, attrs) {
    const number = (name: string) => attrs[name] as number;
    const sizes = decoderSizes(attrs);
    const [rows, imageRows, r] = [number('n'), number('image_length'), number('ratio')];
    const prompt = { rows, imageRows, k: number('k_layers'), r, rounding: attrs.rounding as FastVRounding };
    const { base, average } = publishedFastVMacs(sizes, prompt);
    const bytes = number('bytes_per_element');
    return {
      base_gmacs: reals([base / 1e9]),
      average_gmacs: reals([average / 1e9]),
      ratio: reals([average / base]),
      n_hat: list([rows - imageRows + keptImageRows(imageRows, r, prompt.rounding)]),
      kv_bytes: list([fastVKvBytes(sizes, { ...prompt, r: 0 }, bytes), fastVKvBytes(sizes, prompt, bytes)]),
    };
  },
};

/** Row i stands at position i, attention is causal. */
function score(
  inputs: CaseInputs,
  criterion: string,
  { n, scale }: { n: number; scale: number },
  scores: ReturnType<CaseInputs['empty']>,
): void {
  if (criterion !== 'last_row') throw new Error(`the criterion ${criterion} is not part of the package yet`);
  const { backend } = inputs;
  using kPositions = backend.upload(range(0, n));
  const io = { q: inputs.tensor('q'), k: inputs.tensor('k'), kPositions, scores };
  backend.run(attentionScores, io, { qPosition: n - 1, causal: true, scale, reduce: 'mean' });
}
