/** Threads from the installed package: where its worker file lies, and that it is in one piece. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { run } from './command.ts';
import { fail, type Project } from './project.ts';

const SCRIPT = `
import { createWasmBackend } from 'skip-vision/backend/wasm';
const options = process.argv[2] ? { workerUrl: import.meta.resolve(process.argv[2]) } : {};
const backend = await createWasmBackend({ threads: 2, ...options });
console.log(backend.description);
`;

/** As it is, bundled into one file that names the worker file, and bundled without saying where it is. */
export async function checkThreads({ folder, installed }: Project): Promise<void> {
  const worker = readFileSync(path.join(installed, 'dist/worker.js'), 'utf8');
  if (/\bimport\b/.test(worker)) fail('worker.js needs other files');
  const script = path.join(folder, 'threads.mjs');
  const bundled = path.join(folder, 'threads.bundled.mjs');
  writeFileSync(script, SCRIPT);
  await build({ entryPoints: [script], outfile: bundled, bundle: true, format: 'esm', platform: 'neutral', logLevel: 'silent' });
  expect(description(script, []), /, 2 threads$/);
  expect(description(bundled, ['skip-vision/worker']), /, 2 threads$/);
  expect(description(bundled, []), /, one thread \(2 threads were asked for, but could not be started: .+\)$/);
}

function expect(text: string, pattern: RegExp): void {
  if (!pattern.test(text)) fail(`the description is "${text}", expected ${pattern}`);
}

/** Ends by itself, as workers keep no process alive. */
function description(file: string, args: readonly string[]): string {
  return run(process.execPath, [file, ...args], path.dirname(file)).stdout.trim();
}
