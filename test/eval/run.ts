/**
 * `npm run eval -- [--backend NAME] [--method NAME] [--data DIR] [--model DIR] [--limit N] [--json]`
 * Asks every question of an evaluation folder (pictures and questions.jsonl) and compares with the truth and with the
 * answers that PyTorch stored for that method.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Backend, BackendName } from '../../src/backend/backend.ts';
import { unknownName } from '../../src/backend/errors.ts';
import { selectBackend } from '../../src/backend/select.ts';
import { METHOD_NAMES, methodByName } from '../../src/methods/index.ts';
import { loadModel, type Vlm } from '../../src/model/vlm.ts';
import { ensureDriver, nodeGpu } from '../gpu.ts';

interface Question {
  image: string;
  type: string;
  question: string;
  answer: string;
}

/** The bundled checkpoint for a method, and the field of questions.jsonl that holds its stored answers. */
const STORED = { none: { model: 'full', field: 'full' }, 'skip-vision': { model: 'skip', field: 'skip_kv' } } as const;
const EXAMPLES = path.resolve(import.meta.dirname, '../../examples/tiny-vlm');

interface Score {
  questions: number;
  correct: number;
  agreed: number;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      backend: { type: 'string' },
      method: { type: 'string', default: 'skip-vision' },
      data: { type: 'string', default: path.join(EXAMPLES, 'eval') },
      model: { type: 'string' },
      limit: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (!(values.method in STORED)) throw unknownName('method', values.method, METHOD_NAMES);
  const stored = STORED[values.method as keyof typeof STORED];
  const lines = (await readFile(path.join(values.data, 'questions.jsonl'), 'utf8')).trim().split('\n');
  const questions = lines
    .map((line) => JSON.parse(line) as Question & Record<string, string>)
    .slice(0, values.limit ? Number(values.limit) : undefined);
  await using backend = await openBackend(values.backend);
  using model = await loadModel(values.model ?? path.join(EXAMPLES, stored.model), { backend });
  const kinds = await askAll(model, values.method, questions, values.data, stored.field, !values.json);
  report(backend, values.method, kinds, values.json);
  return 0;
}

/** WebGPU when it was asked for by name; else the default choice without it, as no GPU is looked for. */
async function openBackend(name: string | undefined): Promise<Backend> {
  if (name !== 'webgpu') return selectBackend({ prefer: name as BackendName | undefined });
  ensureDriver();
  return selectBackend({ prefer: name, gpu: await nodeGpu() });
}

async function askAll(
  model: Vlm,
  methodName: string,
  questions: readonly (Question & Record<string, string>)[],
  folder: string,
  field: string,
  showProgress: boolean,
): Promise<Map<string, Score>> {
  const method = methodByName(methodName, model.config);
  const kinds = new Map<string, Score>();
  const pictures = Map.groupBy(questions, ({ image }) => image);
  let asked = 0;
  for (const [picture, group] of pictures) {
    using image = await model.encodeImage(path.join(folder, picture), { method });
    for (const question of group) {
      const { text } = await model.generate({ image, question: question.question, method });
      const score = kinds.get(question.type) ?? { questions: 0, correct: 0, agreed: 0 };
      score.questions++;
      if (text === question.answer) score.correct++;
      if (text === question[field]) score.agreed++;
      kinds.set(question.type, score);
      asked++;
      if (showProgress && process.stderr.isTTY) process.stderr.write(`\r${asked} of ${questions.length}`);
    }
  }
  if (showProgress && process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return kinds;
}

function report(backend: Backend, method: string, kinds: ReadonlyMap<string, Score>, json: boolean): void {
  const all: Score = { questions: 0, correct: 0, agreed: 0 };
  for (const score of kinds.values()) for (const key of ['questions', 'correct', 'agreed'] as const) all[key] += score[key];
  const summary = ({ questions, correct, agreed }: Score) => ({ questions, accuracy: correct / questions, agreement: agreed / questions });
  const rows = [...kinds].map(([kind, score]) => ({ kind, ...summary(score) }));
  if (json) {
    console.log(JSON.stringify({ backend: backend.name, description: backend.description, method, ...summary(all), kinds: rows }));
    return;
  }
  console.log(`${method} on ${backend.name} (${backend.description})`);
  const line = (cells: readonly string[]) => console.log(cells.map((cell, i) => (i ? cell.padStart(12) : cell.padEnd(10))).join(''));
  line(['kind', 'questions', 'accuracy', 'agreement']);
  for (const { kind, questions, accuracy, agreement } of [...rows, { kind: 'all', ...summary(all) }]) {
    line([kind, String(questions), `${(100 * accuracy).toFixed(1)} %`, `${(100 * agreement).toFixed(1)} %`]);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
