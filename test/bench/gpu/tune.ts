/**
 * Which tile suits this adapter: our own product kernels under every override that fits it, on one SwiGLU FFN after another.
 * Run by itself: node --import ./test/assets-hook.mjs test/bench/gpu/tune.ts [--quick] [--smoke] [--shape T,D,M]...; one JSON line a result.
 */
import { parseArgs } from 'node:util';
import { openDevice } from '../../../src/backend/webgpu/device.ts';
import { createWebGpuBackend } from '../../../src/backend/webgpu/driver.ts';
import { gatheredFfn } from '../../../src/ops/gathered-ffn.ts';
import { type Shape, shaped } from '../../shaped.ts';
import { nodeGpu } from '../../gpu.ts';
import { difference, type FfnData, type FfnShape, ffnData, ffnFlops, giga } from '../data.ts';
import { measureInTurn } from '../measure.ts';
import { ownFfn } from '../own-ffn.ts';

/** Depth of a tile. */
const BK = 16;
const SIZES = [1, 2, 4, 8, 16, 32] as const;
const SAME = 1e-5;
const CHOSEN = 'as chosen';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    shape: { type: 'string', multiple: true },
  },
});
const quick = values.quick || values.smoke;
const gpu = await nodeGpu();
const { device } = await openDevice({ gpu, powerPreference: 'high-performance' });
await using backend = await createWebGpuBackend({ gpu, device });
const software = backend.features.has('software-adapter');
const print = (line: object) => console.log(JSON.stringify(line));
print({ tune: 'adapter', description: backend.description, features: [...backend.features] });
for (const shape of shapes()) await sweep(ffnData(shape));
process.exit(0);

function shapes(): readonly FfnShape[] {
  if (values.shape) return values.shape.map((text) => text.split(',').map(Number) as unknown as FfnShape);
  if (software)
    return quick
      ? [[16, 64, 96]]
      : [
          [64, 576, 1536],
          [4, 576, 1536],
        ];
  const hidden: readonly (readonly [number, number])[] = quick
    ? [[576, 1536]]
    : [
        [576, 1536],
        [2048, 8192],
      ];
  return hidden.flatMap(([D, M]) => [1, 4, 8, 16, 64, 256, 1024].map((T) => [T, D, M] as const));
}

/** Every override of the kernel that as many rows run through, in turn; a result that differs is no candidate. */
async function sweep(data: FfnData): Promise<void> {
  const { tokens, hidden, inner } = data;
  const head = { tune: 'ffn', shape: [tokens, hidden, inner] };
  const own = await ownFfn(backend, data);
  const expected = await own.result();
  own.release();
  const candidates = new Map<string, Awaited<ReturnType<typeof ownFfn>>>();
  for (const overrides of overridesFor(tokens)) {
    const name =
      Object.entries(overrides)
        .map((entry) => entry.join('='))
        .join(' ') || CHOSEN;
    try {
      const candidate = await (name === CHOSEN ? ownFfn(backend, data) : ownFfn(backend, data, 'f32', shaped(gatheredFfn, overrides)));
      const off = difference(await candidate.result(), expected);
      if (off <= SAME) candidates.set(name, candidate);
      else print({ ...head, overrides: name, wrong: off });
    } catch (error) {
      print({ ...head, overrides: name, refused: String((error as Error).message).split('\n')[0] });
    }
  }
  const blocks = software ? 1 : 16;
  const work = Object.fromEntries(
    [...candidates].map(([name, { call, read }]) => [
      name,
      () => {
        for (let i = 0; i < blocks; i++) call();
        return read();
      },
    ]),
  );
  const times = await measureInTurn(work, quick ? { rounds: 2, seconds: 0 } : { rounds: 7, seconds: 2 });
  const chosen = times[CHOSEN]!;
  const rows = Object.entries(times).map(([overrides, { median, best, rounds }]) => ({
    ...head,
    overrides,
    ms: median / blocks,
    'Gop/s': giga(ffnFlops(data), best / blocks),
    'over chosen': rounds.map((time, i) => time / chosen.rounds[i]!).sort((a, b) => a - b)[rounds.length >> 1],
  }));
  for (const row of rows.toSorted((a, b) => a.ms - b.ms)) print(row);
  for (const each of candidates.values()) each.release();
}

function overridesFor(tokens: number): Shape[] {
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = device.limits;
  const tiles = [4, 8]
    .flatMap((TM) => SIZES.flatMap((NX) => SIZES.map((NY) => ({ TM, NX, NY }))))
    .filter(({ TM, NX, NY }) => NX * NY >= 4 && NX * NY <= threads && (NY * TM * (BK / 4 + 1) + BK * NX * 2) * 16 + NY * TM * 32 <= bytes);
  const few = [4, 8, 16, 32].flatMap((QUADS) => [32, 64, 128, 256].map((THREADS) => ({ QUADS, THREADS })));
  const fitting = few.filter(({ QUADS, THREADS }) => THREADS >= 4 * QUADS && THREADS <= threads);
  const all: Shape[] = tokens <= 8 ? fitting : tiles;
  return [{}, ...(quick ? all.filter((_, i) => i % (values.smoke ? 12 : 5) === 0) : all)];
}
