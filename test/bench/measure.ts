/**
 * Times of several functions in turn, A B C A B C ..., so that a machine whose speed drifts drifts for all of them.
 * Benchmark.js finds how many calls one measurement needs and takes it; the medians over the rounds are ours.
 */
import Benchmark from 'benchmark';

export interface Timing {
  /** Milliseconds a call. */
  median: number;
  best: number;
  /** One value for each round: compare round by round. */
  rounds: number[];
}

export type Work = () => unknown;

export async function measureInTurn<Name extends string>(
  work: Readonly<Record<Name, Work>>,
  rounds: number,
): Promise<Record<Name, Timing>> {
  const entries = Object.entries(work) as [Name, Work][];
  const samples = new Map<Name, number[]>(entries.map(([name]) => [name, []]));
  for (const [, call] of entries) for (let warmUp = 0; warmUp < 2; warmUp++) await call();
  for (let round = 0; round < rounds; round++) {
    for (const [name, call] of entries) samples.get(name)!.push(await measure(call));
  }
  return Object.fromEntries(
    [...samples].map(([name, times]) => [name, { median: median(times), best: Math.min(...times), rounds: times }]),
  ) as Record<Name, Timing>;
}

/** Milliseconds a call, by one Benchmark.js run of about 50 ms or a single call. */
function measure(call: Work): Promise<number> {
  return new Promise((resolve, reject) => {
    const isAsync = call() instanceof Promise;
    const options = {
      maxTime: 0.05,
      minSamples: 1,
      onComplete: (event: { target: { stats: { mean: number }; error?: unknown } }) =>
        event.target.error ? reject(event.target.error) : resolve(1000 * event.target.stats.mean),
    };
    if (isAsync) {
      const fn = (deferred: { resolve(): void }) => void (call() as Promise<unknown>).then(() => deferred.resolve(), reject);
      new Benchmark({ ...options, defer: true, fn }).run({ async: true });
    } else {
      new Benchmark({ ...options, fn: call }).run({ async: true });
    }
  });
}

/** Median over the rounds of a's time over b's in the same round. */
export function ratio(a: Timing, b: Timing): number {
  return median(a.rounds.map((time, round) => time / b.rounds[round]!));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
