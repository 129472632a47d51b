/**
 * The tables of the WebGPU backend on one adapter: what run.ts starts, once for each. Needs Node 24 and its assets hook. --json: a line for the
 * adapter, then one for each table when it is done. --smoke: toy shapes, one round, which prove only that everything runs.
 */
import { parseArgs } from 'node:util';
import { openDevice } from '../../../src/backend/webgpu/device.ts';
import { createWebGpuBackend } from '../../../src/backend/webgpu/driver.ts';
import { nodeGpu } from '../../gpu.ts';
import type { FfnShape } from '../data.ts';
import { chooseTables, fillAll, plain, print } from '../table.ts';
import { attention } from './attention.ts';
import type { ChainEffort } from './chain.ts';
import { compaction } from './compaction.ts';
import type { Table } from './context.ts';
import { dispatches } from './dispatches.ts';
import { encode } from './encode.ts';
import { ffn } from './ffn.ts';
import { first } from './first.ts';
import { gathered } from './gathered.ts';
import { peaks } from './peaks.ts';
import { Peers, takePeersFrom } from './peers.ts';
import { Probe } from './probe.ts';

const TABLES: readonly Table[] = [peaks, dispatches, encode, first, compaction, attention, gathered, ffn];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    peers: { type: 'string' },
    chain: { type: 'string', default: '9' },
    shape: { type: 'string', multiple: true },
  },
});
const tables = chooseTables(TABLES, values.only);
if (values.peers) takePeersFrom(values.peers);
const gpu = await nodeGpu();
// where other libraries look for it
Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
const { device } = await openDevice({ gpu, powerPreference: 'high-performance' });
await using backend = await createWebGpuBackend({ gpu, device });
const software = backend.features.has('software-adapter');
const context = {
  gpu,
  backend,
  device,
  probe: await Probe.open(device, software),
  peers: new Peers(),
  peersFolder: values.peers,
  quick: values.quick,
  smoke: values.smoke,
  shapes: values.shape?.map((text) => text.split(',').map(Number) as unknown as FfnShape),
  software,
  effort: effort(),
};
const head = {
  runtime: `Node ${process.version}`,
  backend: backend.name,
  description: backend.description,
  features: [...backend.features],
};
if (values.json) console.log(JSON.stringify(head));
else {
  console.log(`webgpu (${head.description}; ${head.features.join(', ')}), ${head.runtime}.`);
  console.log(software ? 'A software adapter: only ratios within a row mean anything.' : 'Ratios are what counts.');
}
await fillAll(tables, context, (filled) => {
  if (values.json) console.log(JSON.stringify({ table: filled.table.name, ...plain(filled) }));
  else print(filled);
});
// A driver that still works when the process ends may crash it.
await device.queue.onSubmittedWorkDone();
device.destroy();
await device.lost;
process.exit(0); // some peers keep the process alive

function effort(): ChainEffort {
  const long = Number(values.chain);
  if (values.smoke) return { rounds: 1, seconds: 0, long };
  return values.quick ? { rounds: 3, seconds: 2, long } : { rounds: software ? 5 : 15, seconds: 6, long };
}
