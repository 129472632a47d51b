#!/usr/bin/env node
/** The command `skip-vision`: ask a model about a picture, or see which backends work here. */
import { parseArgs } from 'node:util';
import { SkipVisionError } from './backend/errors.ts';
import { ask } from './cli/ask.ts';
import { doctor } from './cli/doctor.ts';

const USAGE = `usage: skip-vision ask IMAGE "QUESTION" [--method NAME] [--backend NAME] [--model DIR] [--max-tokens N] [--json]
       skip-vision doctor [--json]

ask     answers a question about a PNG or JPEG picture; without --model with the bundled toy model, which knows
        nothing but synthetic 96x96 scenes ("what is at the top left ?", "describe"), with the method it was trained for
doctor  lists every backend, whether it works here, its features, and why not`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      method: { type: 'string' },
      backend: { type: 'string' },
      model: { type: 'string' },
      'max-tokens': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [command, ...rest] = positionals;
  if (values.help || command === 'help') return print(USAGE, 0);
  if (command === 'doctor' && rest.length === 0) return doctor(values);
  if (command === 'ask' && rest.length === 2) {
    return ask(rest[0]!, rest[1]!, { ...values, maxTokens: values['max-tokens'] === undefined ? undefined : Number(values['max-tokens']) });
  }
  return print(USAGE, 2);
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
