/** `npm run bench -- start [--quick] [--json] [--against DIR]`: how soon there is a first result, each contender in a fresh process. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { median, ratio, type Timing } from '../measure.ts';
import { fillAll, plain, print, type Report, type Row, type Table } from '../table.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

export interface StartOptions {
  quick: boolean;
  json: boolean;
  /** A built checkout of another commit, which is then a contender too. */
  against?: string;
}

interface Context extends Report {
  quick: boolean;
  contenders: Readonly<Record<string, readonly string[]>>;
}

interface Sample {
  cpu: number;
  wall: number;
}

const start: Table<Context> = {
  name: 'start',
  title: 'From the start of Node to the first result of an f32 product 8 x 256 x 256, ms (median), a process each',
  legend: [
    'ours: skip-vision/ops and skip-vision/backend/wasm as built, with packing the weight. node: a script that does nothing.',
    'CPU: of all threads of the process. vs jax-js: how many times its CPU time, median of the ratios round by round / ratio of the best.',
  ],
  targets: [
    {
      what: 'CPU time over that of jax-js (180 ms where it takes 150)',
      column: 'vs jax-js',
      atMost: 1.2,
      where: (row) => row.what === 'ours',
    },
  ],
  async *rows({ quick, contenders, progress, skip }) {
    const found = new Map<string, Sample[]>(Object.keys(contenders).map((name) => [name, []]));
    for (let round = 0; round < (quick ? 5 : 15); round++) {
      progress(`round ${round + 1}`);
      for (const name of round % 2 ? [...found.keys()].reverse() : [...found.keys()]) {
        const sample = first(contenders[name]!);
        if (typeof sample !== 'string') found.get(name)!.push(sample);
        else {
          skip(`${name}: ${sample}`);
          found.delete(name);
        }
      }
    }
    const jax = found.get('jax-js');
    for (const [name, samples] of found) {
      yield {
        what: name,
        CPU: median(samples.map(({ cpu }) => cpu)),
        wall: median(samples.map(({ wall }) => wall)),
        'vs jax-js': jax && name !== 'jax-js' ? ratio(timing(samples), timing(jax)) : undefined,
      } satisfies Row;
    }
  },
};

export async function benchStart({ quick, json, against }: StartOptions): Promise<void> {
  const { status } = spawnSync(process.execPath, [path.join(ROOT, 'build/dist.ts')], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('dist could not be built');
  const contenders = {
    ours: ['ours', ROOT],
    ...(against && { before: ['ours', path.resolve(against)] }),
    'jax-js': ['jax-js'],
    node: ['node'],
  };
  const filled = await fillAll([start], { quick, contenders }, json ? () => {} : print);
  if (json) console.log(JSON.stringify({ runtime: `Node ${process.version}`, tables: { start: plain(filled[0]!) } }));
}

function timing(samples: readonly Sample[]): Timing {
  const rounds = samples.map(({ cpu }) => cpu);
  return { median: median(rounds), best: Math.min(...rounds), rounds };
}

/** One sample, or why there is none. */
function first(args: readonly string[]): Sample | string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [path.join(import.meta.dirname, 'first.mjs'), ...args], {
    encoding: 'utf8',
  });
  if (status === 0) return JSON.parse(stdout) as Sample;
  if (/ERR_MODULE_NOT_FOUND/.test(stderr)) return 'not installed';
  return (
    stderr
      .split('\n')
      .find((line) => /error/i.test(line))
      ?.slice(0, 160) ?? `status ${status}`
  );
}
