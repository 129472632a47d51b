/** What the machine and the engine allow today: the denominators of the other tables. */
import { linear } from '../../../src/ops/linear.ts';
import { wasmMemoryOf } from '../../../src/backend/wasm/driver.ts';
import { Random } from '../../random.ts';
import { measureInTurn, ratio, scaled, type Work } from '../measure.ts';
import { giga, uniform } from '../data.ts';
import { Probe, peakFloat } from './probe.ts';
import type { Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const [ROWS, K, N] = [240, 576, 1536];
const COMPUTE = {
  mulAdd: 'f32x4.mul + add',
  relaxedMadd: 'f32x4.relaxed_madd',
  dot16: 'i32x4.dot_i16x8_s + add',
  relaxedDot8: 'i32x4.relaxed_dot_i8x16_i7x16_add_s',
} as const;
const KIB = 1024;
const SIZES: Readonly<Record<string, number>> = { '16 KiB': 16 * KIB, '512 KiB': 512 * KIB, '4 MiB': 4096 * KIB, '64 MiB': 65536 * KIB };

export const ceiling: Table = {
  name: 'ceiling',
  title: 'Ceilings of one thread: G operations/s of instructions, GB/s of memory',
  legend: [
    'instructions: twelve independent sums in registers. Memory: bytes read, or bytes copied (each is read and written).',
    `GEMM: linear, ${ROWS} x ${K} x ${N}; of peak: over relaxed_madd, for simd128 over mul + add, in the same rounds (median / best).`,
  ],
  targets: [
    { what: 'GEMM share of the ceiling, relaxed (6x8)', column: 'of peak', atLeast: 0.9, where: (row) => row.what === 'GEMM, relaxed' },
    { what: 'GEMM share of the ceiling, simd128 (4x8)', column: 'of peak', atLeast: 0.85, where: (row) => row.what === 'GEMM, simd128' },
  ],
  async *rows(context) {
    yield* instructions(context);
    yield* memory(context);
  },
};

async function* instructions(context: Context): AsyncGenerator<Row> {
  context.progress('instructions, GEMM');
  const { probe } = context;
  const random = new Random(1);
  const gemm = async (backend: typeof context.backend) => {
    const x = backend.upload(uniform(random, ROWS * K, 1), [ROWS, K]);
    const y = backend.empty({ dtype: 'f32', shape: [ROWS, N] });
    const weight = await backend.pack({ data: uniform(random, N * K, 0.1), shape: [N, K] });
    return { call: () => backend.run(linear, { x, weight, y }, {}), release: () => disposeAll(x, y, weight) };
  };
  const [relaxed, simd] = [await gemm(context.backend), await gemm(context.baseline)];
  const rates = Object.keys(COMPUTE).flatMap((name) => {
    const rate = probe.rate(name as keyof typeof COMPUTE);
    return rate ? [[name as keyof typeof COMPUTE, rate] as const] : [];
  });
  const work: Record<string, Work> = {
    relaxed: relaxed.call,
    simd: simd.call,
    ...Object.fromEntries(rates.map(([name, rate]) => [name, rate.call])),
  };
  const times = await measureInTurn(work, context.effort);
  for (const [name, { operations }] of rates) {
    yield { what: COMPUTE[name], best: giga(operations, times[name]!.best), median: giga(operations, times[name]!.median) };
  }
  const flops = 2 * ROWS * K * N;
  for (const [what, name, fused] of [
    ['GEMM, relaxed', 'relaxed', true],
    ['GEMM, simd128', 'simd', false],
  ] as const) {
    const peak = peakFloat(probe, fused);
    const peakTime = times[fused && times.relaxedMadd ? 'relaxedMadd' : 'mulAdd']!;
    const share = ratio(scaled(peakTime, flops / peak.operations), times[name]!);
    yield { what, best: giga(flops, times[name]!.best), median: giga(flops, times[name]!.median), 'of peak': share };
  }
  relaxed.release();
  simd.release();
}

/** In the backend's own linear memory. */
async function* memory({ backend, effort, progress, quick }: Context): AsyncGenerator<Row> {
  const { memory, allocate, free } = linearMemory(backend);
  const probe = new Probe(memory);
  for (const [label, bytes] of Object.entries(SIZES).slice(0, quick ? 3 : undefined)) {
    progress(`memory, ${label}`);
    const [from, to] = [allocate(bytes), allocate(bytes)];
    probe.copy(from, to, bytes); // touches every page
    const times = await measureInTurn({ read: () => probe.read(from, bytes), copy: () => probe.copy(to, from, bytes) }, effort);
    yield { what: `read ${label}`, best: giga(bytes, times.read.best), median: giga(bytes, times.read.median) };
    yield { what: `memory.copy ${label}`, best: giga(bytes, times.copy.best), median: giga(bytes, times.copy.median) };
    free(from);
    free(to);
  }
}

/** The memory of a wasm backend and its allocator, as functions. */
export function linearMemory(backend: Parameters<typeof wasmMemoryOf>[0]): {
  memory: WebAssembly.Memory;
  allocate(bytes: number): number;
  free(pointer: number): void;
} {
  const held = wasmMemoryOf(backend);
  return { memory: held.memory, allocate: (bytes) => held.allocate(bytes), free: (pointer) => held.free(pointer) };
}

function disposeAll(...made: readonly Disposable[]): void {
  for (const each of made) each[Symbol.dispose]();
}
