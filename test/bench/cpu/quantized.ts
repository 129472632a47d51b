/** Quantized FFNs: 8 bits against DynamicQuantizeLinear + MatMulInteger, 4 bits against MatMulNBits. */
import { measureInTurn, ratio, scaled, type Work } from '../measure.ts';
import { swigluModel } from '../onnx.ts';
import { type FfnData, type FfnShape, ffnData, ffnFlops, giga, rmsDifference } from '../data.ts';
import { noSlower } from '../against.ts';
import { duelFfns, type OwnFfn, ownFfn } from '../own-ffn.ts';
import type { Contender } from './peers.ts';
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
const QUICK: readonly FfnShape[] = [SHAPES[0]!, SHAPES[4]!];
const KINDS = { q8: 'int8', q4: 'int4' } as const;
/** Root mean square of the error to the f32 FFN over its values: what so few bits leave. */
const ERROR_BOUND = { q8: 0.04, q4: 0.15 } as const;

const is = (dtype: string, prefill: boolean) => (row: Row) => row.dtype === dtype && !String(row.shape).startsWith('1 ') === prefill;

export const quantized: Table = {
  name: 'quantized',
  title: 'Quantized SwiGLU FFN, G operations/s (best), one thread',
  legend: [
    'ort-web: onnxruntime-web of the same number of bits, ort-f32: its f32. int8: per-tensor u8 activations, per-output s8 weights; int4: MatMulNBits, blocks of 32, accuracy level 4.',
    'of peak: over i32x4.relaxed_dot in registers, the same rounds. error: root mean square to the f32 FFN over its values, ours | theirs;',
    `at most ${ERROR_BOUND.q8} for q8 and ${ERROR_BOUND.q4} for q4 or the row is marked.`,
  ],
  targets: [
    noSlower('new/old'),
    noSlower('simd new/old'),
    { what: 'q8 vs onnxruntime-web int8, relaxed dot, 64 tokens and more', column: 'vs ort-web', atLeast: 2, where: is('q8', true) },
    { what: 'q8 vs onnxruntime-web int8, simd128, 64 tokens and more', column: 'simd vs ort-web', atLeast: 1, where: is('q8', true) },
    { what: 'q8 vs onnxruntime-web int8, one token', column: 'vs ort-web', atLeast: 4, where: is('q8', false) },
    { what: 'q4 vs onnxruntime-web int4, 64 tokens and more', column: 'vs ort-web', atLeast: 4.5, where: is('q4', true) },
    { what: 'q4 vs onnxruntime-web int4, one token', column: 'vs ort-web', atLeast: 60, where: is('q4', false) },
    { what: 'q4 vs onnxruntime-web f32, one token', column: 'vs ort-f32', atLeast: 3.5, where: is('q4', false) },
    { what: 'q8 vs onnxruntime-node int8 (native), 64 tokens and more', column: 'vs ort-node', atLeast: 0.2, where: is('q8', true) },
    { what: 'q4 vs onnxruntime-node int4 (native), 64 tokens and more', column: 'vs ort-node', atLeast: 0.5, where: is('q4', true) },
  ],
  async *rows(context) {
    for (const shape of context.quick ? QUICK : SHAPES) {
      const data = ffnData(shape);
      for (const dtype of ['q8', 'q4'] as const) {
        context.progress(`${dtype} ${shape.join(' x ')}`);
        const row = await benchShape(context, data, dtype);
        if (row) yield row;
      }
    }
  },
};

/** undefined, and a word to `skip`, when the backend does not pack the dtype. */
async function benchShape(context: Context, data: FfnData, dtype: keyof typeof KINDS): Promise<Row | undefined> {
  const { probe, peers, skip, threaded, before } = context;
  const contenders: Record<string, Contender> = {};
  const truth = await ownFfn(context.backend, data);
  const f32 = await truth.result();
  truth.release();
  let ours: OwnFfn;
  try {
    ours = await ownFfn(context.backend, data, dtype);
    contenders.ours = ours;
    contenders.simd = await ownFfn(context.baseline, data, dtype);
  } catch (error) {
    skip(`${dtype}: ${(error as Error).message}`);
    contenders.ours?.release();
    return undefined;
  }
  const feeds = { x: [data.input, [data.tokens, data.hidden]] } as const;
  const model = (kind: 'f32' | 'int8' | 'int4') => () => swigluModel(kind, data.hidden, data.inner, data);
  const wanted = [
    ['ort-web', 'web', KINDS[dtype]],
    ['ort-f32', 'web', 'f32'],
    ['ort-node', 'node', KINDS[dtype]],
  ] as const;
  for (const [name, peer, kind] of [...wanted, ...(threaded ? [['ort-web 2 threads', 'web 2 threads', KINDS[dtype]] as const] : [])]) {
    const contender = await peers.ort(peer, model(kind), feeds, skip);
    if (contender) contenders[name] = contender;
  }
  try {
    const error = rmsDifference(await ours.result(), f32);
    const theirError = contenders['ort-web'] ? rmsDifference(await contenders['ort-web'].result(), f32) : Number.NaN;
    const peak = probe.rate('relaxedDot8');
    const work: Record<string, Work> = peak ? { peak: peak.call } : {};
    for (const [name, { call }] of Object.entries(contenders)) work[name] = call;
    const times = await measureInTurn(work, context.effort);
    const flops = ffnFlops(data);
    const rates = Object.fromEntries(Object.keys(contenders).map((name) => [name, giga(flops, times[name]!.best)]));
    const vs: Record<string, Cell> = {};
    for (const name of Object.keys(contenders)) if (name.startsWith('ort')) vs[`vs ${name}`] = ratio(times[name]!, times.ours!);
    return {
      shape: `${data.tokens} x ${data.hidden} x ${data.inner}`,
      dtype,
      MB: ours.weightBytes / 1e6,
      ...rates,
      'of peak': peak && ratio(scaled(times.peak!, flops / peak.operations), times.ours!),
      ...vs,
      'new/old': before && (await duelFfns(before, 'best', data, dtype, context.effort)),
      'simd new/old': before && (await duelFfns(before, 'plain', data, dtype, context.effort)),
      'simd vs ort-web': times['ort-web'] && ratio(times['ort-web'], times.simd!),
      error: `${error.toFixed(3)} | ${theirError.toFixed(3)}${error <= ERROR_BOUND[dtype] ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of Object.values(contenders)) await each.release();
  }
}
