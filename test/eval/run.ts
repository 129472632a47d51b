/**
 * `npm run eval -- [--backend NAME] [--method NAME] [--dtype NAME] [--kv-dtype NAME] [--data DIR] [--model DIR] [--limit N] [--json]`
 * Asks every question of an evaluation folder (pictures and questions.jsonl) and compares with the truth and with the
 * answers that PyTorch stored for that method, where there are any. With --json one object on the standard output (and npm's own
 * lines before it, without `npm run --silent`).
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Backend } from '../../src/backend/backend.ts';
import type { BackendName } from '../../src/backend/features.ts';
import { unknownName } from '../../src/backend/errors.ts';
import { selectBackend } from '../../src/backend/select.ts';
import type { FloatDType } from '../../src/backend/tensor.ts';
import type { WeightDType } from '../../src/backend/weight.ts';
import { METHOD_NAMES, methodByName } from '../../src/methods/index.ts';
import { loadModel } from '../../src/model/load.ts';
import type { Vlm } from '../../src/model/vlm.ts';
import { ensureDriver, nodeGpu } from '../gpu.ts';
import { METHOD_ROWS } from '../table/methods.ts';
import { type Question, readQuestions } from './questions.ts';

const EXAMPLES = path.resolve(import.meta.dirname, '../../examples/tiny-vlm');

interface Score {
  questions: number;
  correct: number;
  /** Questions with a stored answer, and those of them answered alike. */
  stored: number;
  agreed: number;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      backend: { type: 'string' },
      method: { type: 'string', default: 'skip-vision' },
      dtype: { type: 'string' },
      'kv-dtype': { type: 'string' },
      data: { type: 'string', default: path.join(EXAMPLES, 'eval') },
      model: { type: 'string' },
      limit: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const row = METHOD_ROWS.find(({ name }) => name === values.method);
  if (!row) throw unknownName('method', values.method, METHOD_NAMES);
  const { limit } = values;
  if (limit !== undefined && !/^0*[1-9]\d*$/.test(limit)) throw new Error(`--limit is "${limit}", expected a positive integer`);
  const questions = (await readQuestions(values.data)).slice(0, limit === undefined ? undefined : Number(limit));
  await using backend = await openBackend(values.backend);
  using model = await loadModel(values.model ?? path.join(EXAMPLES, row.checkpoint), {
    backend,
    dtype: values.dtype as WeightDType | undefined,
  });
  const kvDtype = values['kv-dtype'] as FloatDType | undefined;
  const kinds = await askAll(model, { method: values.method, kvDtype }, questions, values.data, row.stored, !values.json);
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
  options: { method: string; kvDtype?: FloatDType },
  questions: readonly Question[],
  folder: string,
  field: string,
  showProgress: boolean,
): Promise<Map<string, Score>> {
  const { kvDtype } = options;
  const method = methodByName(options.method, model.config);
  const kinds = new Map<string, Score>();
  const pictures = Map.groupBy(questions, ({ image }) => image);
  let asked = 0;
  for (const [picture, group] of pictures) {
    using image = await model.encodeImage(path.join(folder, picture), { method });
    for (const question of group) {
      const { text } = await model.generate({ image, question: question.question, method, kvDtype });
      const score = kinds.get(question.type) ?? { questions: 0, correct: 0, stored: 0, agreed: 0 };
      score.questions++;
      if (text === question.answer) score.correct++;
      if (question[field] !== undefined) score.stored++;
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
  const all: Score = { questions: 0, correct: 0, stored: 0, agreed: 0 };
  for (const score of kinds.values()) for (const key of ['questions', 'correct', 'stored', 'agreed'] as const) all[key] += score[key];
  const summary = ({ questions, correct, stored, agreed }: Score) => ({
    questions,
    accuracy: correct / questions,
    agreement: stored ? agreed / stored : null,
  });
  const rows = [...kinds].map(([kind, score]) => ({ kind, ...summary(score) }));
  if (json) {
    console.log(JSON.stringify({ backend: backend.name, description: backend.description, method, ...summary(all), kinds: rows }));
    return;
  }
  console.log(`${method} on ${backend.name} (${backend.description})`);
  const line = (cells: readonly string[]) => console.log(cells.map((cell, i) => (i ? cell.padStart(12) : cell.padEnd(10))).join(''));
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  line(['kind', 'questions', 'accuracy', 'agreement']);
  for (const { kind, questions, accuracy, agreement } of [...rows, { kind: 'all', ...summary(all) }]) {
    line([kind, String(questions), percent(accuracy), agreement === null ? '-' : percent(agreement)]);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
