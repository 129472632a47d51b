/**
 * What a suite tells `npm test` while it runs: lines of JSON in the file that SUITE_JOURNAL names. A file, as several processes of
 * a suite write it, and it is there still when a suite is cut off. Nobody writes where the variable is not set.
 */
import { appendFileSync, closeSync, openSync, readSync, statSync } from 'node:fs';

export interface Entry {
  passed?: number;
  failed?: number;
  skipped?: number;
  /** Which test failed and how, or why tests are skipped. */
  message?: string;
  /** What runs now, and how far the suite is. */
  now?: string;
}

export function note(entry: Entry, file = process.env.SUITE_JOURNAL): void {
  if (file) appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

/** Reads a journal as it grows. */
export class JournalReader {
  readonly #file: string;
  #at = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** The entries since the last call; a line that is not yet written to its end waits for the next one. */
  read(): Entry[] {
    const size = statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
    const file = size > this.#at ? openSync(this.#file, 'r') : undefined;
    if (file === undefined) return [];
    const bytes = Buffer.alloc(size - this.#at);
    const read = readSync(file, bytes, 0, bytes.length, this.#at);
    closeSync(file);
    const end = bytes.subarray(0, read).lastIndexOf('\n') + 1;
    this.#at += end;
    const lines = bytes.subarray(0, end).toString().split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as Entry);
  }
}
