/** The f32 SwiGLU FFN against everything else that runs it. */
import { measureInTurn, ratio, scaled, type Work } from '../measure.ts';
import { swigluModel } from '../onnx.ts';
import { difference, type FfnData, type FfnShape, ffnData, ffnFlops, giga } from '../data.ts';
import { noSlower } from '../against.ts';
import { duelFfns, ownFfn } from '../own-ffn.ts';
import { loopFfn, tensorflowFfn } from './ffn-contenders.ts';
import type { Contender, OrtName } from './peers.ts';
import { peakFloat } from './probe.ts';
import type { Cell, Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const SHAPES: readonly FfnShape[] = [
  [64, 576, 1536],
  [256, 576, 1536],
  [64, 960, 2560],
  [144, 2048, 8192],
  [1, 576, 1536],
  [1, 2048, 8192],
];
const QUICK: readonly FfnShape[] = [SHAPES[0]!, SHAPES[1]!, SHAPES[4]!];
/** Results may differ by this much of the largest value: sums of up to 8192 products in another order. */
const BOUND = 2e-5;

const OWN = ['ours', 'simd', 'wide', '2 threads'];
const isPrefill = (row: Row) => !String(row.shape).startsWith('1 ');

export const ffn: Table = {
  name: 'ffn',
  title: 'f32 SwiGLU FFN, GFLOP/s (best), one thread',
  legend: [
    'vs ...: how many times faster than that peer, median of the ratios round by round / ratio of the best times.',
    'of peak: our rate over that of multiply-adds in registers, taken in the same rounds (relaxed_madd, and mul + add for simd128).',
    'wide: 256-bit products, which are off by default (createWasmBackend({ wide: true })).',
    `plain JS runs on at most 4 rows. difference: largest one to any peer over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [
    noSlower('new/old'),
    noSlower('simd new/old'),
    { what: 'share of the ceiling, relaxed, 64 tokens and more', column: 'of peak', atLeast: 0.85, where: isPrefill },
    { what: 'share of the ceiling, simd128, 64 tokens and more', column: 'simd of peak', atLeast: 0.82, where: isPrefill },
    { what: 'vs onnxruntime-web, 64 tokens and more', column: 'vs ort-web', atLeast: 1.6, where: isPrefill },
    {
      what: 'wide: true vs onnxruntime-web',
      column: 'wide vs ort-web',
      atLeast: 2.5,
      where: ({ shape }) => shape === '144 x 2048 x 8192',
    },
    { what: 'vs onnxruntime-web, one token', column: 'vs ort-web', atLeast: 1.1, where: (row) => !isPrefill(row) },
    { what: 'vs tfjs wasm', column: 'vs tfjs', atLeast: 1.25 },
    {
      what: 'two threads vs one, 64 tokens and more (worthless while a neighbour is busy)',
      column: 'scaling',
      atLeast: 1.85,
      where: isPrefill,
    },
    { what: 'vs plain JS, 64 tokens and more', column: 'vs js', atLeast: 15, where: isPrefill },
    { what: 'vs onnxruntime-node (native), 64 tokens and more', column: 'vs ort-node', atLeast: 0.25, where: isPrefill },
  ],
  async *rows(context) {
    for (const shape of context.quick ? QUICK : SHAPES) {
      context.progress(shape.join(' x '));
      yield await benchShape(context, ffnData(shape));
    }
  },
};

async function benchShape(context: Context, data: FfnData): Promise<Row> {
  const { backend, baseline, wide, threaded, probe, peers, skip, before } = context;
  const contenders: Record<string, Contender> = { ours: await ownFfn(backend, data), simd: await ownFfn(baseline, data) };
  if (wide) contenders.wide = await ownFfn(wide, data);
  if (threaded) contenders['2 threads'] = await ownFfn(threaded, data);
  const add = (name: string, contender: Contender | undefined) => {
    if (contender) contenders[name] = contender;
  };
  const ortNames: readonly OrtName[] = threaded ? ['web', 'web 2 threads', 'node'] : ['web', 'node'];
  for (const name of ortNames) {
    add(
      `ort-${name}`,
      await peers.ort(name, () => swigluModel('f32', data.hidden, data.inner, data), { x: [data.input, [data.tokens, data.hidden]] }, skip),
    );
  }
  const tf = await peers.tensorflow(skip);
  add('tfjs', tf && tensorflowFfn(tf, data));
  const loops = loopFfn(data);
  contenders.js = loops;
  try {
    const worst = await largestDifference(contenders);
    const peaks = { peak: peakFloat(probe, true), simdPeak: peakFloat(probe, false) };
    const work: Record<string, Work> = { peak: peaks.peak.call, simdPeak: peaks.simdPeak.call };
    for (const [name, { call }] of Object.entries(contenders)) work[name] = call;
    const times = await measureInTurn(work, context.effort);
    const flops = ffnFlops(data);
    const rates = Object.fromEntries(
      Object.keys(contenders).map((name) => [name, name === 'js' ? loops.gflops(times.js!.best) : giga(flops, times[name]!.best)]),
    );
    const vs: Record<string, Cell> = {};
    for (const name of Object.keys(contenders))
      if (!OWN.includes(name))
        vs[`vs ${name}`] = ratio(scaled(times[name]!, name === 'js' ? data.tokens / Math.min(4, data.tokens) : 1), times.ours!);
    return {
      shape: `${data.tokens} x ${data.hidden} x ${data.inner}`,
      ...rates,
      'of peak': ratio(scaled(times.peak!, flops / peaks.peak.operations), times.ours!),
      'simd of peak': ratio(scaled(times.simdPeak!, flops / peaks.simdPeak.operations), times.simd!),
      ...vs,
      'wide vs ort-web': times.wide && times['ort-web'] && ratio(times['ort-web'], times.wide),
      'new/old': before && (await duelFfns(before, 'best', data, 'f32', context.effort)),
      'simd new/old': before && (await duelFfns(before, 'plain', data, 'f32', context.effort)),
      scaling: times['2 threads'] && ratio(times.ours!, times['2 threads']),
      difference: `${worst.toExponential(0)}${worst <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of Object.values(contenders)) await each.release();
  }
}

/** Of any contender to ours, on the rows it computes. */
async function largestDifference(contenders: Readonly<Record<string, Contender>>): Promise<number> {
  const ours = await contenders.ours!.result();
  let worst = 0;
  for (const each of Object.values(contenders)) {
    const theirs = await each.result();
    worst = Math.max(worst, difference(ours.subarray(0, theirs.length), theirs));
  }
  return worst;
}
