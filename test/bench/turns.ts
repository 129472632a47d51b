/** Several long jobs in one thread that hand the machine to one another step by step, so that all of them see its good and bad times. */

/** Ends a step; resolves when it is this job's turn again. */
export type Turn = () => Promise<void>;

export async function inTurns(jobs: readonly ((turn: Turn) => Promise<void>)[]): Promise<void> {
  const waiting: (() => void)[] = [];
  const next = () => waiting.shift()?.();
  const enter = () => new Promise<void>((resolve) => waiting.push(resolve));
  const turn = () => {
    const resumed = enter();
    next();
    return resumed;
  };
  const running = jobs.map(async (job) => {
    await enter();
    await job(turn);
    next();
  });
  next();
  await Promise.all(running);
}
