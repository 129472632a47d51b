/**
 * `npm start`: the same questions to two toy checkpoints, self-trained on synthetic scenes: one plain LLaVA, one trained
 * with Skip-Vision. Prints what each answered and what it cost. Kinds of questions: `what` and `describe`, on which the two
 * models can be compared fairly (see examples/tiny-vlm/README.md).
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loadModel, none, selectBackend, trainedMethod } from 'skip-vision';

const folder = new URL('./tiny-vlm/', import.meta.url);
const PICTURES = ['028.png', '056.png', '021.png', '000.png'];

async function main() {
  const backend = await selectBackend({ gpu: await findGpu() });
  await using _backend = backend;
  console.log(`backend: ${backend.name} (${backend.description})`);
  for (const { name, reason } of backend.rejected) console.log(`  not ${name}: ${reason}`);

  using plain = await load('full', backend);
  using skip = await load('skip', backend);
  const contenders = [
    { model: plain, method: none() },
    { model: skip, method: trainedMethod(skip.config) },
  ];
  const questions = await readQuestions();
  for (const { model, method } of contenders) await model.generate({ ...questions[0], method }); // first runs compile code

  const totals = new Map(contenders.map(({ method }) => [method.name, { asked: 0, right: 0, prefillFlops: 0, prefillMs: 0, kvBytes: 0 }]));
  for (const [number, { image, picture, question, answer }] of questions.entries()) {
    progress(`question ${number + 1} of ${questions.length}`);
    const rows = [];
    for (const { model, method } of contenders) {
      const { text, stats } = await model.generate({ image, question, method, onToken: ({ text }) => progress(`${method.name}: ${text}`) });
      rows.push(row(method.name, text, text === answer, stats));
      const total = totals.get(method.name);
      total.asked++;
      total.right += text === answer ? 1 : 0;
      total.prefillFlops += stats.prefillFlops;
      total.prefillMs += stats.prefillMs;
      total.kvBytes += stats.kvBytesAfter;
    }
    progress('');
    console.log(`\n${picture}  "${question}"  expected: ${answer}`);
    printTable(rows);
  }
  printSummary(totals);
}

function load(name, backend) {
  const onProgress = ({ file, loaded }) => progress(`loading ${name}/${file}: ${(loaded / 1e6).toFixed(1)} MB`);
  return loadModel(new URL(`${name}/`, folder), { backend, onProgress });
}

async function readQuestions() {
  const lines = (await readFile(new URL('eval/questions.jsonl', folder), 'utf8')).trim().split('\n');
  const all = lines.map((line) => JSON.parse(line));
  return PICTURES.flatMap((picture) =>
    all
      .filter((each) => each.image === picture && ['what', 'describe'].includes(each.type))
      .map(({ question, answer }) => ({ picture, question, answer, image: fileURLToPath(new URL(`eval/${picture}`, folder)) })),
  );
}

const COLUMNS = [
  'method',
  'rows attended',
  'rows in FFN',
  'prefill MFLOP',
  'prefill ms',
  'ms per token',
  'KV bytes before',
  'and after',
  'answer',
];

function row(method, text, right, stats) {
  return [
    method,
    String(stats.promptRows),
    String(stats.ffnRows),
    (stats.prefillFlops / 1e6).toFixed(1),
    stats.prefillMs.toFixed(1),
    stats.decodeMsPerToken.toFixed(2),
    String(stats.kvBytesBefore),
    String(stats.kvBytesAfter),
    `${right ? 'right' : 'WRONG'}: ${text}`,
  ];
}

function printTable(rows) {
  const widths = COLUMNS.map((_, column) => Math.max(...[COLUMNS, ...rows].map((cells) => cells[column].length)));
  const isText = (column) => column === 0 || column === COLUMNS.length - 1;
  for (const cells of [COLUMNS, ...rows]) {
    const line = cells.map((cell, column) => (isText(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])));
    console.log(`  ${line.join('  ').trimEnd()}`);
  }
}

function printSummary(totals) {
  const [plain, skip] = [...totals.values()];
  const percent = (key) => `${((100 * skip[key]) / plain[key]).toFixed(0)} %`;
  console.log(`\nright: ${[...totals].map(([name, { right, asked }]) => `${name} ${right} of ${asked}`).join(', ')}`);
  console.log(
    `Skip-Vision needs ${percent('prefillFlops')} of the prefill FLOPs, ${percent('prefillMs')} of the prefill time, ${percent('kvBytes')} of the KV bytes.`,
  );
  console.log('Both models are toys, self-trained on synthetic scenes: this shows the mechanism, not the quality of real VLMs.');
}

/** One changing line on a terminal, nothing in a pipe. */
function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text.slice(0, process.stderr.columns - 1)}`);
}

/** WebGPU of the optional package `webgpu`; without a driver the backend choice says so. */
async function findGpu() {
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    return create([]);
  } catch {
    return undefined;
  }
}

await main();
