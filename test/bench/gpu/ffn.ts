/** The SwiGLU FFN on all rows, against everything else that runs it on this adapter. */
import { difference, type FfnData, type FfnShape, ffnData, ffnFlops, giga } from '../data.ts';
import { ratio, scaled, type Timing } from '../measure.ts';
import { type OwnFfn, ownFfn } from '../own-ffn.ts';
import type { Cell, Row } from '../table.ts';
import { type Chain, measureChains } from './chain.ts';
import type { Context, Table } from './context.ts';
import { ffnChain } from './models.ts';
import { type Contender, ORT_NAMES } from './peers.ts';

const SMALL: readonly FfnShape[] = [
  [256, 576, 1536],
  [64, 576, 1536],
];
/** A software adapter would take minutes for one block of these. */
const LARGE: readonly FfnShape[] = [[1024, 2048, 8192]];
const TOY: readonly FfnShape[] = [[16, 64, 96]];
/** Results may differ by this much of the largest value: sums of up to 8192 products in another order. */
const BOUND = 2e-5;

export const ffn: Table = {
  name: 'ffn',
  title: 'f32 SwiGLU FFN with its residual, GFLOP/s (median)',
  legend: [
    'A chain of blocks minus one block. vs ...: how many times faster than that peer, median of the ratios round by round / ratio of the best times.',
    'vs best: than the fastest of the peers. of FMA: our rate over that of multiply-adds in registers, same rounds.',
    `difference: largest one to any peer over the largest value, at most ${BOUND} or the row is marked.`,
  ],
  targets: [{ what: 'as fast as the best peer', column: 'vs best', atLeast: 1 }],
  async *rows(context) {
    const own = context.smoke ? TOY : [...SMALL.slice(0, context.quick ? 1 : undefined), ...(context.software ? [] : LARGE)];
    for (const shape of context.shapes ?? own) {
      context.progress(shape.join(' x '));
      yield await benchShape(context, ffnData(shape));
    }
  },
};

/** As many calls behind one another, then the result. */
export function ownChain({ read }: OwnFfn, call: () => void): Chain {
  return (blocks) => {
    for (let i = 0; i < blocks; i++) call();
    return read();
  };
}

async function benchShape(context: Context, data: FfnData): Promise<Row> {
  const { backend, probe, peers, skip, effort } = context;
  const own = await ownFfn(backend, data);
  const contenders: Record<string, Contender> = { ours: { ...own, chain: ownChain(own, own.call) } };
  const add = (name: string, contender: Contender | undefined) => {
    if (contender) contenders[name] = contender;
  };
  for (const name of ORT_NAMES) add(name, await peers.ortFfn(name, data, (blocks) => ffnChain(data, blocks), skip));
  add('tfjs', await peers.tensorflowFfn(data, skip));
  add('jax-js', await peers.jaxFfn(data, skip));
  try {
    const ours = await own.result();
    let worst = 0;
    for (const { result } of Object.values(contenders)) if (result) worst = Math.max(worst, difference(await result(), ours));
    const peak = probe.rate('FMA f32')!;
    const chains: Record<string, Chain> = { peak: peak.chain };
    for (const [name, { chain }] of Object.entries(contenders)) chains[name] = chain;
    const times = await measureChains(chains, effort);
    const flops = ffnFlops(data);
    const names = Object.keys(contenders);
    return {
      shape: `${data.tokens} x ${data.hidden} x ${data.inner}`,
      'ours ms': times.ours!.median,
      ...Object.fromEntries(names.map((name) => [name, giga(flops, times[name]!.median)])),
      'of FMA': ratio(scaled(times.peak!, flops / peak.amount), times.ours!),
      ...versus(times, names.slice(1)),
      difference: `${worst.toExponential(0)}${worst <= BOUND ? '' : ' TOO LARGE'}`,
    };
  } finally {
    for (const each of Object.values(contenders)) await each.release();
  }
}

/** How many times faster than each peer, and than the fastest of them. */
export function versus(times: Readonly<Record<string, Timing>>, peers: readonly string[]): Record<string, Cell> {
  const vs: Record<string, Cell> = {};
  for (const name of peers) vs[`vs ${name}`] = ratio(times[name]!, times.ours!);
  const [best] = peers.toSorted((a, b) => times[a]!.median - times[b]!.median);
  if (best) vs['vs best'] = ratio(times[best]!, times.ours!);
  return vs;
}
