/** How soon there is a first result: nothing compiled, nothing packed, each contender in a fresh process. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median, ratio, type Timing } from '../measure.ts';
import type { Table } from './context.ts';

const SHAPE = [16, 576, 1536] as const;
const CONTENDERS = ['ours', 'ort-web', 'ort-web-up', 'ort-node'] as const;
type Name = (typeof CONTENDERS)[number];

export const first: Table = {
  name: 'first',
  title: `First result of an f32 FFN ${SHAPE.join(' x ')} after the library is loaded, ms (median), a process each`,
  legend: [
    'prepare: backend or device, and packed weights; in onnxruntime the session. first: the first call and its result on the host. total: both.',
    'vs ...: how many times sooner ours is, median of the rounds / ratio of the best. ort-web-up: its Wasm module was compiled before the clock started.',
  ],
  targets: [
    { what: "sooner than onnxruntime-web's first result", column: 'vs ours', atLeast: 1, where: (row) => row.what === 'ort-web' },
    {
      kind: 'aim',
      what: 'the same, its Wasm module compiled before',
      column: 'vs ours',
      atLeast: 1,
      where: (row) => row.what === 'ort-web-up',
    },
  ],
  async *rows({ quick, smoke, progress, skip, peersFolder }) {
    const found = new Map<Name, { prepare: number; first: number }[]>(CONTENDERS.map((name) => [name, []]));
    for (let round = 0; round < (smoke ? 1 : quick ? 3 : 7); round++) {
      progress(`round ${round + 1}`);
      for (const name of round % 2 ? CONTENDERS.toReversed() : CONTENDERS) {
        if (!found.has(name)) continue;
        const sample = start(name, peersFolder);
        if (typeof sample !== 'string') found.get(name)!.push(sample);
        else {
          skip(`${name}: ${sample}`);
          found.delete(name);
        }
      }
    }
    const totals = new Map<Name, Timing>();
    for (const [name, samples] of found) totals.set(name, timing(samples.map((sample) => sample.prepare + sample.first)));
    for (const [name, samples] of found) {
      yield {
        what: name,
        prepare: median(samples.map(({ prepare }) => prepare)),
        first: median(samples.map((sample) => sample.first)),
        total: totals.get(name)!.median,
        'vs ours': name === 'ours' || !totals.has('ours') ? undefined : ratio(totals.get(name)!, totals.get('ours')!),
      };
    }
  },
};

function timing(rounds: number[]): Timing {
  return { median: median(rounds), best: Math.min(...rounds), rounds };
}

/** One sample, or why there is none. */
function start(name: Name, folder: string | undefined): { prepare: number; first: number } | string {
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const args = [
    '--import',
    file('../../assets-hook.mjs'),
    file('first-result.ts'),
    name,
    ...SHAPE.map(String),
    ...(folder ? [folder] : []),
  ];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, MESA_SHADER_CACHE_DISABLE: 'true' },
  });
  const line = stdout.split('\n').find((each) => each.startsWith('{'));
  if (status === 0 && line) return JSON.parse(line);
  if (/ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND/.test(stderr)) return 'not installed';
  return (
    stderr
      .split('\n')
      .find((each) => /error/i.test(each))
      ?.slice(0, 160) ?? `status ${status}`
  );
}
