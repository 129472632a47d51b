/**
 * The cost of one block on a GPU: a chain of (by default) nine of them minus a chain of one, over eight. Whatever happens once a chain cancels,
 * for every contender alike: upload, submit, waiting for the GPU, reading the result back.
 */
import { type Effort, measureInTurn, median, type Timing, type Work } from '../measure.ts';

/** Runs that many blocks behind one another, until the result of the last one is on the host. */
export type Chain = (blocks: number) => Promise<unknown>;

export interface ChainEffort extends Effort {
  /** Blocks of the long chain. */
  long: number;
}

/** The chains in turn, the short and the long one of each side by side. */
export async function measureChains<Name extends string>(
  chains: Readonly<Record<Name, Chain>>,
  effort: ChainEffort,
): Promise<Record<Name, Timing>> {
  const { long: blocks } = effort;
  const entries = Object.entries(chains) as [Name, Chain][];
  const work: Record<string, Work> = {};
  for (const [name, chain] of entries) {
    work[`${name} short`] = () => chain(1);
    work[`${name} long`] = () => chain(blocks);
  }
  const walls = await measureInTurn(work, effort);
  const timings = entries.map(([name]) => {
    const [short, long] = [walls[`${name} short`]!, walls[`${name} long`]!];
    const rounds = long.rounds.map((time, round) => (time - short.rounds[round]!) / (blocks - 1));
    return [name, { median: median(rounds), best: (long.best - short.best) / (blocks - 1), rounds }];
  });
  return Object.fromEntries(timings) as Record<Name, Timing>;
}
