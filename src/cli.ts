#!/usr/bin/env node
/** The command `skip-vision`: ask a model about a picture, or see which backends work here. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { invalidArgument, SkipVisionError } from './backend/errors.ts';
import { ask } from './cli/ask.ts';
import { doctor } from './cli/doctor.ts';

const USAGE = `usage: skip-vision ask IMAGE "QUESTION" [--method NAME] [--backend NAME] [--model DIR]
                       [--dtype f32|f16|q8|q4] [--kv-dtype f32|f16] [--max-tokens N] [--json]
       skip-vision doctor [--json]
       skip-vision --version

ask     answers a question about a PNG or JPEG picture; without --model with the bundled model, a self-trained toy on
        synthetic scenes that knows nothing else ("what is at the top left ?", "describe"), with the method it was trained for;
        --dtype says how weights are stored, --kv-dtype how keys and values are
doctor  lists every backend, whether it works here, its features and the matrix tile it timed as faster, and why not`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      method: { type: 'string' },
      backend: { type: 'string' },
      model: { type: 'string' },
      dtype: { type: 'string' },
      'kv-dtype': { type: 'string' },
      'max-tokens': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
      version: { type: 'boolean', default: false },
    },
  });
  const [command, ...rest] = positionals;
  if (values.help || command === 'help') return print(USAGE, 0);
  if (values.version) return print(version(), 0);
  if (command === 'doctor' && rest.length === 0) return doctor(values);
  if (command === 'ask' && rest.length === 2) {
    return ask(rest[0]!, rest[1]!, { ...values, kvDtype: values['kv-dtype'], maxTokens: countOf('--max-tokens', values['max-tokens']) });
  }
  return print(USAGE, 2);
}

/** A positive integer as it was typed; what is none is refused here, as the message shows the text. */
function countOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^0*[1-9]\d*$/.test(text)) throw invalidArgument('ask', option, `"${text}"`, 'a positive integer');
  return Number(text);
}

function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8'); // beside dist/ and src/ alike
  return (JSON.parse(manifest) as { version: string }).version;
}

function print(text: string, code: number): number {
  (code === 0 ? process.stdout : process.stderr).write(`${text}\n`);
  return code;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isOurs = error instanceof SkipVisionError;
  const isUsage = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
  if (!isOurs && !isUsage) throw error;
  process.exitCode = print(`skip-vision: ${error.message}${isUsage ? `\n\n${USAGE}` : ''}`, isUsage ? 2 : 1);
}
