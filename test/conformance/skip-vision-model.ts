/** The Skip-Vision cases that stand on the model layer: layout, decoder, cost. */
import { flopsRatio, kvBytes, macsPerRow, prefillFlops, publishedFlopsRatio } from '../../src/cost/skip-vision.ts';
import { none } from '../../src/methods/none.ts';
import { layOut, planLayer, skipVision } from '../../src/methods/skip-vision.ts';
import type { Method, Run } from '../../src/model/stack/hooks.ts';
import { assemble, range, type Rows, rowsOf, type Segment } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import type { Arrays } from './case.ts';
import { decoderResults, decoderSizes, list, loadDecoder, reals, stepsOf } from './decoder-case.ts';
import type { CaseFunction } from './ops.ts';

export const SKIP_VISION_MODEL_CASES: Readonly<Record<string, CaseFunction>> = {
  async skip_vision_layout(inputs, attrs) {
    const { backend } = inputs;
    const count = (name: string) => attrs[name] as number;
    const hasRows = inputs.has('prefix');
    const width = hasRows ? inputs.shape('prefix')[1]! : 1;
    const rows = (name: string, length: number) => (hasRows ? inputs.tensor(name, [length, width]) : inputs.empty(length, width));
    const work = new Work(backend);
    const image = layOut(
      work,
      {
        retained: rows('retained', count('n_retained')),
        q1: rows('q1', 1),
        skipped: rows('skipped', count('n_skipped')),
        q2: rows('q2', 1),
      },
      attrs.pass_last as boolean,
    );
    const text = (name: string, length: number) => ({ kind: 'text' as const, rows: rows(name, length) });
    const { x, rows: layout } = assemble(work, [text('prefix', count('n_pre')), ...image, text('suffix', count('n_post'))], width);
    const embeds: Arrays = hasRows ? { embeds: await inputs.read(x) } : {};
    x.dispose();
    for (const part of image) part.rows.dispose();
    return { ...describeLayout(layout), ...embeds };
  },

  async skip_vision_decoder(inputs, attrs) {
    const { backend } = inputs;
    const embeds = inputs.tensor('embeds');
    const length = embeds.shape[0]!;
    const rows: Rows = { order: range(0, length), segments: segmentsOf(attrs.blocks as Block[], length) };
    const work = new Work(backend);
    using run = await startRun(methodOf(attrs.variant as string), work);
    const chunkSize = (attrs.prefill_chunks as number[] | undefined)?.[0];
    using decoder = await loadDecoder(inputs, attrs);
    using cache = decoder.makeCache({ room: stepsOf(inputs) });
    const outputRows = attrs.variant === 'full' ? rows.order : rowsOf(rows, 'skipped', true);
    const prompt = assemble(work, [{ kind: 'text', rows: embeds }], embeds.shape[1]!);
    const { hidden } = await decoder.prefill({ x: prompt.x, rows }, { cache, run, chunkSize, outputRows });
    using _hidden = hidden;
    return await decoderResults(inputs, { decoder, cache, hidden, rows: outputRows });
  },

  async skip_vision_cost(_inputs, attrs) {
    const number = (name: string) => attrs[name] as number;
    const sizes = decoderSizes(attrs);
    const rows = { retained: number('n_retained'), skipped: number('n_skipped') };
    const [base, text] = [number('n_base'), number('n_text')];
    const [attended, kept] = [rows.retained + rows.skipped + 2, rows.retained + 2];
    const { projections, ffn } = macsPerRow(sizes);
    const prefill = [
      [base + text, base + text],
      [attended + text, attended + text],
      [attended + text, kept + text],
    ].map(([a, b]) => prefillFlops(sizes, a!, b!) / 1e12);
    return {
      fit_ratio: reals([publishedFlopsRatio(sizes, rows, base)]),
      true_ratio: reals([flopsRatio(sizes, rows, base)]),
      prefill_tflops: reals(prefill),
      kv_bytes: list([base, attended, kept].map((n) => kvBytes(sizes, n, number('bytes_per_element')))),
      macs_per_row: list([projections, ffn]),
    };
  },
};

type Block = readonly [start: number, end: number, from: number];

function startRun(method: Method, work: Work): Promise<Run> {
  const tensor = () => Promise.reject(new Error('the decoder needs no parameter of the method'));
  return method.start({ work, depth: { tower: 0, decoder: 0 }, tensor });
}

function describeLayout(rows: Rows): Arrays {
  const { segments, order } = rows;
  const length = order.length;
  const [q1, q2] = segments.filter(({ kind }) => kind === 'summary').map(({ start }) => start) as [number, number];
  const block = segments.find(({ kind }) => kind === 'skipped') ?? { start: q1 + 1, end: q1 + 1 };
  const kept = planLayer(rows, 'causal').ffnRows as Uint32Array;
  const runs = [
    [0, block.start],
    [block.end, length],
  ].filter(([start, end]) => start! < end!);
  const segmentRows = block.start === block.end ? [[0, length]] : runs;
  return {
    length: list([length]),
    q1: list([q1]),
    q2: list([q2]),
    skipped: list([block.start, block.end]),
    kept_rows: list(kept),
    segments: { data: Uint32Array.from(segmentRows.flat()), shape: [segmentRows.length, 2] },
    next_position: list([order.at(-1)! + 1]),
  };
}

/** The segments that `blocks` imply: the summary row is the one before `from`, a promoted row stands between. */
function segmentsOf(blocks: readonly Block[], length: number): Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  const add = (kind: Segment['kind'], end: number) => {
    if (end > at) segments.push({ kind, start: at, end });
    at = end;
  };
  for (const [start, end, from] of blocks) {
    add('text', start);
    add('skipped', end);
    add('retained', from - 1);
    add('summary', from);
  }
  add('text', length);
  return segments;
}

function methodOf(variant: string): Method {
  switch (variant) {
    case 'full':
      return none();
    case 'skip_ffn':
      return skipVision({ retained: 0, skipped: 0, evict: false });
    case 'skip_ffn+skip_kv':
      return skipVision({ retained: 0, skipped: 0 });
    case 'v_mask':
      return skipVision({ retained: 0, skipped: 0, mask: 'hidden' });
    default:
      throw new Error(`unknown variant ${variant}`);
  }
}
