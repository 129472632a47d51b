/** KV compaction: half of the rows stay. Against memory.copy of the same bytes in the same linear memory. */
import simdBytes from '../../../build/wasm/kernels-simd.wasm';
import type { WasmKernels } from '../../../src/backend/wasm/binding.ts';
import { compactKv } from '../../../src/ops/compact-kv.ts';
import { Random } from '../../random.ts';
import { duel, noSlower } from '../against.ts';
import { measureInTurn, ratio } from '../measure.ts';
import { linearMemory } from './ceiling.ts';
import { giga, someRows, uniform } from '../data.ts';
import { Probe } from './probe.ts';
import type { Row } from '../table.ts';
import type { Context, Table } from './context.ts';

const ROW_BYTES = [128, 256, 512, 1024, 2048] as const;
/** Keys and values of one layer of a short prompt, and so many that they come from memory. */
const ROWS = [640, 32768] as const;

export const compaction: Table = {
  name: 'compaction',
  title: 'KV compaction, 50 % of the rows kept, GB/s of bytes kept (best), one thread',
  legend: [
    'rows: of one layer; keys and values are compacted by one call. memory.copy: of the kept bytes in one piece, to where they go out of place.',
    'vs copy: rate over that of memory.copy in the same rounds, with all that backend.run does (the check of the row list); kernel vs copy: without it.',
  ],
  targets: [
    noSlower('new/old'),
    noSlower('in place new/old'),
    {
      what: 'random rows, out of place, the kernel vs memory.copy',
      column: 'kernel vs copy',
      atLeast: 0.6,
      where: (row) => row.kept === 'random',
    },
    { what: 'random rows, out of place, vs memory.copy', column: 'vs copy', atLeast: 0.6, where: (row) => row.kept === 'random' },
    { what: 'random rows, in place, vs memory.copy', column: 'in place vs copy', atLeast: 0.6, where: (row) => row.kept === 'random' },
    {
      what: 'runs of 16, out of place, the kernel vs memory.copy',
      column: 'kernel vs copy',
      atLeast: 0.9,
      where: (row) => row.kept !== 'random',
    },
    {
      kind: 'stretch',
      what: 'runs of 16, out of place, vs memory.copy',
      column: 'vs copy',
      atLeast: 1,
      where: (row) => row.kept !== 'random',
    },
  ],
  async *rows(context) {
    const { memory } = linearMemory(context.backend);
    const probe = new Probe(memory);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(simdBytes), { env: { memory } });
    const moveRows = exports.move_rows as Kernel;
    for (const count of context.quick ? ROWS.slice(0, 1) : ROWS) {
      for (const bytes of ROW_BYTES) {
        for (const run of [1, 16]) {
          context.progress(`${count} rows of ${bytes} bytes, runs of ${run}`);
          yield await benchRows(context, { probe, moveRows }, { count, bytes, run });
        }
      }
    }
  },
};

type Kernel = WasmKernels['move_rows'];

async function benchRows(
  { backend, effort, before }: Context,
  { probe, moveRows }: { probe: Probe; moveRows: Kernel },
  { count, bytes, run }: { count: number; bytes: number; run: number },
): Promise<Row> {
  const { allocate, free, memory } = linearMemory(backend);
  const width = bytes / 4;
  const kept = someRows(new Random(count + bytes + run), count / 2, count, run);
  const keptBytes = kept.length * bytes;
  const pointers = [
    allocate(count * bytes),
    allocate(count * bytes),
    allocate(keptBytes),
    allocate(keptBytes),
    allocate(kept.byteLength),
  ] as const;
  const [fromK, fromV, toK, toV, list] = pointers;
  new Uint32Array(memory.buffer, list, kept.length).set(kept);
  const borrow = (pointer: number, rows: number) => backend.borrow({ memory, pointer }, { dtype: 'f32', shape: [1, rows, width] });
  const [k, v, kOut, vOut] = [borrow(fromK, count), borrow(fromV, count), borrow(toK, kept.length), borrow(toV, kept.length)];
  const keep = backend.upload(kept);
  const source = uniform(new Random(1), count * width, 1);
  for (const pointer of [fromK, fromV]) new Float32Array(memory.buffer, pointer, source.length).set(source);
  backend.run(compactKv, { k, v, keep, kOut, vOut }, {});
  const moved = new Float32Array(memory.buffer, toV, kept.length * width);
  const right = moved.every((value, i) => value === source[kept[Math.floor(i / width)]! * width + (i % width)]);
  const beside = (inPlace: boolean) =>
    before &&
    duel(before, 'best', effort, (ops, side) => {
      const [k, v] = [side.upload(source, [1, count, width]), side.upload(source, [1, count, width])];
      const out = { dtype: 'f32', shape: [1, kept.length, width] } as const;
      const [kOut, vOut, keep] = [side.empty(out), side.empty(out), side.upload(kept)];
      const io = inPlace ? { k, v, keep } : { k, v, keep, kOut, vOut };
      return () => side.run(ops.compactKv, io, {});
    });
  const work = {
    outOfPlace: () => backend.run(compactKv, { k, v, keep, kOut, vOut }, {}),
    kernel: () => {
      moveRows(fromK, toK, list, kept.length, bytes);
      moveRows(fromV, toV, list, kept.length, bytes);
    },
    inPlace: () => backend.run(compactKv, { k, v, keep }, {}),
    copy: () => {
      probe.copy(toK, fromK, keptBytes);
      probe.copy(toV, fromV, keptBytes);
    },
  };
  const times = await measureInTurn(work, effort);
  keep.dispose();
  for (const pointer of pointers) free(pointer);
  const rate = (ms: number) => giga(2 * keptBytes, ms);
  return {
    rows: `${count} x ${bytes} B`,
    kept: run === 1 ? 'random' : `runs of ${run}`,
    MB: (2 * keptBytes) / 1e6,
    'memory.copy': rate(times.copy.best),
    'out of place': rate(times.outOfPlace.best),
    'in place': rate(times.inPlace.best),
    'vs copy': ratio(times.copy, times.outOfPlace),
    'kernel vs copy': ratio(times.copy, times.kernel),
    'in place vs copy': ratio(times.copy, times.inPlace),
    'new/old': await beside(false),
    'in place new/old': await beside(true),
    result: right ? 'right' : 'WRONG',
  };
}
