import { invalidArgument } from '../errors.ts';

const MOST_THREADS = 64;

export function checkThreads(op: string, threads: number): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw invalidArgument(op, 'threads', String(threads), `an integer from 1 to ${MOST_THREADS}`);
  }
}
