/**
 * Times of several functions in turn, A B C C B A ..., in bursts of a few milliseconds: shorter than what a shared machine's
 * speed keeps steady, so that one round is slow or fast for all of them. Benchmark.js times the bursts; how many calls make
 * one is settled here, and so are the medians over the rounds.
 */
import Benchmark from 'benchmark';

export interface Timing {
  /** Milliseconds a call. */
  median: number;
  best: number;
  /** One value for each round: compare round by round. */
  rounds: number[];
}

/** One thing's time over another's. */
export interface Ratio {
  /** Median of the ratios within a round. */
  median: number;
  /** Ratio of the best times. */
  best: number;
}

export interface Effort {
  /** Rounds at least. */
  rounds: number;
  /** Time after which no further round starts. */
  seconds: number;
}

export type Work = () => unknown;

/** Below a scheduler's time slice, far above the clock's resolution. */
const BURST_MS = 5;
/** Work up to this long is timed with warm caches; longer work does not keep its operands in them anyway. */
const WARM_UP_MS = 50;
const MOST_ROUNDS = 400;
/** From so many calls a burst, synchronous work runs in a plain loop; below, by callbacks, which spares Benchmark.js its trial calls. */
const LOOP_CALLS = 20;

export async function measureInTurn<Name extends string>(
  work: Readonly<Record<Name, Work>>,
  effort: Effort,
): Promise<Record<Name, Timing>> {
  const entries = Object.entries(work) as [Name, Work][];
  const contenders = entries.map(([name, call]) => ({
    name,
    call,
    isAsync: false,
    rounds: [] as number[],
    best: Number.POSITIVE_INFINITY,
  }));
  for (const each of contenders) {
    for (let warmUp = 0; warmUp < 2; warmUp++) {
      const start = performance.now();
      const result = each.call();
      each.isAsync = result instanceof Promise;
      await result;
      each.best = Math.min(each.best, performance.now() - start);
    }
  }
  const end = performance.now() + 1000 * effort.seconds;
  for (let round = 0; round < effort.rounds || (round < MOST_ROUNDS && performance.now() < end); round++) {
    for (const each of round % 2 ? contenders.toReversed() : contenders) {
      const calls = Math.max(1, Math.floor(BURST_MS / each.best));
      if (each.best < WARM_UP_MS) await each.call(); // brings back what the others drove out of the caches
      const time = await burst(each.call, calls, each.isAsync);
      each.rounds.push(time);
      each.best = Math.min(each.best, time);
    }
  }
  const timings = contenders.map(({ name, rounds }) => [name, { median: median(rounds), best: Math.min(...rounds), rounds }]);
  return Object.fromEntries(timings) as Record<Name, Timing>;
}

/** Milliseconds a call, by one Benchmark.js sample of `calls` calls. */
function burst(call: Work, calls: number, isAsync: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const options: Benchmark.Options & { minTime: number } = {
      initCount: calls,
      minTime: 1e-9,
      maxTime: -1,
      minSamples: 1,
      delay: 0.001,
      onComplete: (event: { target: { stats: { mean: number }; error?: unknown } }) =>
        event.target.error ? reject(event.target.error) : resolve(1000 * event.target.stats.mean),
    };
    if (!isAsync && calls >= LOOP_CALLS) {
      new Benchmark({ ...options, fn: call as () => void }).run({ async: true });
      return;
    }
    const fn = (deferred: { resolve(): void }) => {
      const result = call();
      if (result instanceof Promise) void result.then(() => deferred.resolve(), reject);
      else deferred.resolve();
    };
    new Benchmark({ ...options, defer: true, fn }).run({ async: true });
  });
}

export function ratio(a: Timing, b: Timing): Ratio {
  return { median: median(a.rounds.map((time, round) => time / b.rounds[round]!)), best: a.best / b.best };
}

/** The time of `factor` times the work. */
export function scaled({ median, best, rounds }: Timing, factor: number): Timing {
  return { median: median * factor, best: best * factor, rounds: rounds.map((time) => time * factor) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
