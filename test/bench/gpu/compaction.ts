/** KV compaction: half of the rows stay. Against copies of as many bytes. */
import { compactKv } from '../../../src/ops/compact-kv.ts';
import { Random } from '../../random.ts';
import { giga, someRows, uniform } from '../data.ts';
import { ratio } from '../measure.ts';
import type { Row } from '../table.ts';
import { measureChains } from './chain.ts';
import type { Context, Table } from './context.ts';

const ROW_BYTES = [128, 512, 2048] as const;
const ROWS = { software: 4096, hardware: 65536 } as const;

export const compaction: Table = {
  name: 'compaction',
  title: 'KV compaction, 50 % of the rows kept, GB/s of bytes kept (median)',
  legend: [
    'rows: of one layer; keys and values are compacted by one call. copy: of the kept bytes in one piece, by our probe kernel; buffer copy: by copyBufferToBuffer.',
    'vs copy: rate over that of the probe kernel in the same rounds.',
  ],
  targets: [
    { kind: 'aim', what: 'random rows, out of place, vs copy', column: 'vs copy', atLeast: 0.5, where: (row) => row.kept === 'random' },
    { kind: 'aim', what: 'runs of 16, out of place, vs copy', column: 'vs copy', atLeast: 0.65, where: (row) => row.kept !== 'random' },
  ],
  async *rows(context) {
    for (const bytes of ROW_BYTES.slice(0, context.smoke ? 1 : context.quick ? 2 : undefined)) {
      for (const run of [1, 16]) {
        context.progress(`rows of ${bytes} bytes, runs of ${run}`);
        yield await benchRows(context, bytes, run);
      }
    }
  },
};

async function benchRows({ backend, probe, effort, software }: Context, bytes: number, run: number): Promise<Row> {
  const count = ROWS[software ? 'software' : 'hardware'];
  const width = bytes / 4;
  const kept = someRows(new Random(count + bytes + run), count / 2, count, run);
  const source = uniform(new Random(1), count * width, 1);
  const cache = { k: backend.upload(source, [1, count, width]), v: backend.upload(source, [1, count, width]) };
  const spare = { k: backend.upload(source, [1, count, width]), v: backend.upload(source, [1, count, width]) };
  const shape = [1, kept.length, width];
  const out = { kOut: backend.empty({ dtype: 'f32', shape }), vOut: backend.empty({ dtype: 'f32', shape }) };
  const keep = backend.upload(kept);
  const calls = {
    outOfPlace: () => backend.run(compactKv, { ...cache, keep, ...out }, {}),
    inPlace: () => backend.run(compactKv, { ...spare, keep }, {}),
  };
  calls.outOfPlace();
  const moved = await backend.read(out.vOut);
  const right = moved.every((value, i) => value === source[kept[Math.floor(i / width)]! * width + (i % width)]);
  const chain = (call: () => void) => (blocks: number) => {
    for (let i = 0; i < blocks; i++) call();
    return backend.read(keep);
  };
  const total = 2 * kept.length * bytes;
  const copies = await probe.copiesOf(total);
  const times = await measureChains(
    { outOfPlace: chain(calls.outOfPlace), inPlace: chain(calls.inPlace), copy: copies.kernel, buffer: copies.buffer },
    effort,
  );
  copies.release();
  for (const each of [...Object.values(cache), ...Object.values(spare), ...Object.values(out), keep]) each.dispose();
  return {
    rows: `${count} x ${bytes} B`,
    kept: run === 1 ? 'random' : `runs of ${run}`,
    MB: total / 1e6,
    copy: giga(total, times.copy.median),
    'buffer copy': giga(total, times.buffer.median),
    'out of place': giga(total, times.outOfPlace.median),
    'in place': giga(total, times.inPlace.median),
    'vs copy': ratio(times.copy, times.outOfPlace),
    'in place vs copy': ratio(times.copy, times.inPlace),
    result: right ? 'right' : 'WRONG',
  };
}
