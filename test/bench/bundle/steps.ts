/**
 * The steps of a bundle, one process each: what it prints goes to OUT/STEP.jsonl line by line, lines that are no JSON as { text };
 * the last line has the exit status. Started by run.sh.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const root = resolve(import.meta.dirname, '../../..');
const words = process.argv.slice(2);
const smoke = words.includes('smoke');
const size = smoke ? ['--smoke'] : [];
const bench = (tables: string) => ['test/bench/gpu/main.ts', '--json', ...size, '--only', tables];

const cases = existsSync(join(root, 'cases')) ? readdirSync(join(root, 'cases')).map((name) => join('cases', name)) : [];
const STEPS: Readonly<Record<string, readonly string[]>> = {
  probe: bench('peaks,dispatches,encode'),
  conformance: ['test/conformance/run.ts', ...cases, '--backend', 'webgpu'],
  bench: bench('first,compaction,attention,gathered,ffn'),
  tune: ['test/bench/gpu/tune.ts', ...size],
};
const chosen = words.filter((word) => word !== 'smoke');
const unknown = chosen.filter((word) => !Object.hasOwn(STEPS, word));
if (unknown.length) {
  console.error(`no step ${unknown.join(', ')}; there are ${Object.keys(STEPS).join(', ')}`);
  process.exit(2);
}
let failed = 0;
for (const step of chosen.length ? chosen : Object.keys(STEPS)) {
  const status = await runStep(step);
  if (status !== 0) failed++;
}
process.exit(failed ? 1 : 0);

async function runStep(step: string): Promise<number> {
  const file = join(process.env.OUT ?? 'out', `${step}.jsonl`);
  const out = createWriteStream(file);
  const write = (line: object) => out.write(`${JSON.stringify(line)}\n`);
  const started = Date.now();
  console.log(`== ${step}`);
  const child = spawn(process.execPath, ['--import', './test/assets-hook.mjs', ...STEPS[step]!], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const limit = setTimeout(() => child.kill('SIGKILL'), 1000 * Number(process.env.LIMIT ?? 900));
  const lines = createInterface({ input: child.stdout });
  let count = 0;
  lines.on('line', (line) => {
    count++;
    write(parsed(line));
    if (!line.startsWith('{')) console.log(line);
  });
  const errors = createInterface({ input: child.stderr });
  errors.on('line', (line) => write({ stderr: line }));
  const status = await new Promise<number>((settle) => child.on('close', (code, signal) => settle(code ?? (signal ? 137 : 1))));
  clearTimeout(limit);
  const seconds = (Date.now() - started) / 1000;
  write({ step, status, seconds });
  await new Promise<void>((settle) => out.end(settle));
  console.log(`   status ${status}, ${count} lines in ${file}, ${seconds.toFixed(0)} s`);
  return status;
}

function parsed(line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : { text: line };
  } catch {
    return { text: line };
  }
}
