/** What the adapter allows: the denominators of the other tables. */
import { giga } from '../data.ts';
import { measureChains } from './chain.ts';
import type { Table } from './context.ts';
import type { Peak } from './probe.ts';

const isMemory = (name: Peak) => ['read', 'copy', 'copyBufferToBuffer'].includes(name);

export const peaks: Table = {
  name: 'peaks',
  title: 'The adapter at its best, by our own small kernels',
  legend: [
    'FMA and dot4I8Packed: G operations/s in registers, two per multiply-add. Memory: GB/s of bytes read, or of bytes copied (each is read and written).',
  ],
  targets: [],
  async *rows({ probe, effort, progress, quick, software }) {
    const names = probe.names;
    progress(names.join(', '));
    const chains = Object.fromEntries(names.map((name) => [name, probe.rate(name)!.chain])) as Record<Peak, never>;
    const times = await measureChains(chains, quick ? { ...effort, seconds: 1 } : effort);
    for (const name of names) {
      const { amount } = probe.rate(name)!;
      yield {
        what: name,
        unit: isMemory(name) ? 'GB/s' : 'Gop/s',
        median: giga(amount, times[name].median),
        best: giga(amount, times[name].best),
        adapter: software ? 'software' : 'GPU',
      };
    }
  },
};
