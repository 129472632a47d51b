/** Runs a bundle in another runtime: a command, or a page of Chromium. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type PageKind, runInPage } from './chromium.ts';

export interface Command {
  command: readonly string[];
  env: Readonly<Record<string, string>>;
}
export type Place = Command | { page: PageKind };

/**
 * Gives the bundle its argument and passes on every line of JSON that it prints, without the last, `{"done":true}`.
 * @throws what `onLine` throws first, and when it fails or ends without that line. A machine may be slow: a run that hangs is for the caller to end.
 */
export async function runBundle<Line extends object>(
  place: Place,
  bundle: string,
  given: string,
  onLine: (line: Line) => void,
): Promise<void> {
  let done = false;
  let refusal: unknown;
  const hear = (text: string) => {
    const line = parseLine(text);
    if (!line || refusal) return;
    if ('done' in line) done = true;
    else {
      try {
        onLine(line as Line);
      } catch (error) {
        refusal = error; // nobody above an event would catch it
      }
    }
  };
  if ('page' in place) await runInPage(place.page, bundle, given, hear);
  else await runCommand(place, bundle, given, hear);
  if (refusal) throw refusal;
  if (!done) throw new Error('it ended before its last line');
}

function parseLine(text: string): object | undefined {
  if (!text.startsWith('{')) return undefined; // warnings of drivers
  try {
    return JSON.parse(text) as object;
  } catch {
    return undefined;
  }
}

function runCommand({ command, env }: Command, bundle: string, given: string, onText: (text: string) => void): Promise<void> {
  const [executable, ...rest] = command;
  const child = spawn(executable!, [...rest, bundle, given], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => {
    complaint = (complaint + data.toString()).slice(-2000);
  });
  createInterface({ input: child.stdout }).on('line', onText);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      if (status === 0) resolve();
      else reject(new Error(`it ended with ${signal ?? status}: ${complaint.trim()}`));
    });
  });
}
