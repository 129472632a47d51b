/** What of `npm test` runs beside what. */

export interface Job {
  /** Processors that it keeps busy. More than there are: it runs alone. */
  threads: number;
  run(): Promise<void>;
}

/** Runs all jobs; whenever processors are idle, the first of those left that fits starts. */
export async function schedule(jobs: readonly Job[], processors: number): Promise<void> {
  const waiting = [...jobs];
  const running = new Set<Promise<void>>();
  let idle = processors;
  while (waiting.length > 0 || running.size > 0) {
    const next = waiting.findIndex(({ threads }) => threads <= idle || idle === processors);
    if (next < 0) {
      await Promise.race(running);
      continue;
    }
    const [job] = waiting.splice(next, 1);
    const taken = Math.min(job!.threads, processors);
    idle -= taken;
    const work = job!.run().finally(() => {
      idle += taken;
      running.delete(work);
    });
    running.add(work);
  }
}
