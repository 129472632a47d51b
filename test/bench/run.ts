/**
 * `npm run bench -- [--quick] [--json]`; `npm run bench -- cpu`, `-- gpu` and `-- start` print the tables of the run.ts in these folders
 * instead.
 * One process, one thread, everything interleaved, medians over the rounds. Ratios are what counts; absolute rates depend on the
 * machine and on its neighbours. With --json one object on the standard output (and npm's own lines before it, without `npm run
 * --silent`).
 */
import { parseArgs } from 'node:util';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { benchCpu } from './cpu/run.ts';
import { benchGpu } from './gpu/run.ts';
import { benchFfn, type FfnRow } from './ffn.ts';
import { benchOnNode } from './other-node.ts';
import { benchStart } from './start/run.ts';

const SHAPES = [
  [64, 576, 1536],
  [256, 576, 1536],
  [144, 2048, 8192],
] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    threads: { type: 'boolean', default: false },
    adapter: { type: 'string' },
    peers: { type: 'string' },
    chain: { type: 'string' },
    shape: { type: 'string', multiple: true },
    node: { type: 'string' },
    against: { type: 'string' },
  },
});
if (values.node) {
  const at = process.argv.indexOf('--node');
  process.exit(await benchOnNode(values.node, at < 0 ? [] : process.argv.toSpliced(at, 2).slice(2)));
}
if (positionals[0] === 'cpu') {
  await benchCpu(values);
  process.exit(0);
}
if (positionals[0] === 'gpu') process.exit(benchGpu(values));
if (positionals[0] === 'start') {
  await benchStart(values);
  process.exit(0);
}

await using backend = await createWasmBackend();
const rows: FfnRow[] = [];
for (const shape of SHAPES.slice(0, values.quick ? 2 : undefined)) {
  if (!values.json) process.stderr.write(`f32 SwiGLU FFN ${shape.join(' x ')} ...\n`);
  rows.push(await benchFfn(backend, shape, values.quick ? { rounds: 5, seconds: 2 } : { rounds: 15, seconds: 8 }));
}

if (values.json) {
  console.log(JSON.stringify({ runtime: `Node ${process.version}`, backend: backend.name, description: backend.description, ffn: rows }));
} else {
  console.log(`f32 SwiGLU FFN, wasm (${backend.description}), one thread, Node ${process.version}; onnxruntime-web wasm, one thread`);
  const line = (cells: readonly string[]) => console.log(cells.map((cell) => cell.padStart(15)).join(''));
  line(['tokens', 'hidden', 'inner', 'ours GFLOP/s', 'ort GFLOP/s', 'ours vs ort', '1/4 vs all', '1/4 vs dense', 'difference']);
  for (const row of rows) {
    line([
      String(row.tokens),
      String(row.hidden),
      String(row.inner),
      row.ours_gflops.toFixed(1),
      row.ort_gflops.toFixed(1),
      `${row.speedup.toFixed(2)}x`,
      `${row.gathered_over_all.toFixed(3)}x`,
      `${row.gathered_over_dense.toFixed(3)}x`,
      row.difference.toExponential(1),
    ]);
  }
  console.log(
    'ours vs ort: how many times faster. 1/4 vs all: time of a quarter of the rows through a row list, over all rows (0.25 is ideal).',
  );
  console.log('1/4 vs dense: the same, over the dense FFN on as many rows (1.000: a skipped row costs nothing).');
}
process.exit(0); // onnxruntime-web keeps the process alive
