/** What the host pays for a dispatch: backend.run with all its checks, against a bare dispatch in an open pass. */
import type { Backend } from '../../../src/backend/backend.ts';
import { gatheredFfn } from '../../../src/ops/gathered-ffn.ts';
import { linear } from '../../../src/ops/linear.ts';
import { rmsNorm } from '../../../src/ops/rms-norm.ts';
import { median, ratio, type Timing } from '../measure.ts';
import type { Table } from './context.ts';
import { counting, replaced } from './counting.ts';

/** Calls of one round: what they record stays below what the backend submits by itself (SUBMIT_AT in its driver). */
const CALLS = 120;
/** Dispatches of a bare pass, about as many as ours. */
const BARE = 240;
const WARM_UPS = 10;
const ALL_SET = 'all set, 8';

export const encode: Table = {
  name: 'encode',
  title: 'Host time of a dispatch, microseconds (median)',
  legend: [
    `bare: dispatchWorkgroups alone in an open pass, pipeline and bind group set before. all set: another pipeline and another bind group`,
    `of 3 or 8 storage buffers with a dynamic offset in front of every dispatch, which is what any ops in turns need (the FFN: 8). Others:`,
    `${CALLS} calls with all their checks and the encoding of their pass up to finish(), without queue.submit; with submit: with it.`,
  ],
  targets: [
    { what: 'host time of a dispatch over a bare one', column: 'vs bare', atMost: 5, where: (row) => row['per call'] !== undefined },
  ],
  async *rows(context) {
    const { backend, device, quick } = context;
    const work: Record<string, () => unknown> = {
      bare: await bareDispatches(device, 1, false),
      'all set, 3': await bareDispatches(device, 3, true),
      [ALL_SET]: await bareDispatches(device, 8, true),
    };
    const bare = Object.keys(work);
    const dispatchesOf: Record<string, number> = Object.fromEntries(bare.map((name) => [name, BARE]));
    for (const [name, call] of Object.entries(await calls(backend))) {
      const { dispatches } = await counting(() => {
        call();
        return backend.flush();
      });
      dispatchesOf[name] = CALLS * dispatches;
      work[name] = () => {
        for (let i = 0; i < CALLS; i++) call();
        void backend.flush(); // encodes and submits before it first waits
      };
    }
    const { encoding, total } = await measureHost(device, work, dispatchesOf, quick ? 20 : 60);
    for (const [what, time] of Object.entries(encoding)) {
      const own = !bare.includes(what);
      yield {
        what,
        'per call': own ? dispatchesOf[what]! / CALLS : undefined,
        'us a dispatch': 1000 * time.median,
        'us with submit': own ? 1000 * total[what]!.median : undefined,
        'vs bare': what === 'bare' ? undefined : ratio(time, encoding.bare!),
        'vs all set, 8': own ? ratio(time, encoding[ALL_SET]!) : undefined,
      };
    }
  },
};

/** Small enough that nothing but the host's work counts. */
async function calls(backend: Backend): Promise<Record<string, () => void>> {
  const zeros = (...shape: number[]) => backend.upload(new Float32Array(shape.reduce((product, extent) => product * extent, 1)), shape);
  const matrix = { data: new Float32Array(256), shape: [16, 16] } as const;
  const [weight, pair] = [await backend.pack(matrix), await backend.pack({ gate: matrix, up: matrix })];
  const [x, y, ones, rows] = [zeros(4, 16), zeros(4, 16), zeros(16), backend.upload(Uint32Array.of(0, 2))];
  const norm = () => backend.run(rmsNorm, { x, weight: ones, y }, { eps: 1e-5 });
  const product = () => backend.run(linear, { x, weight, y }, {});
  return {
    rms_norm: norm,
    linear: product,
    gathered_ffn: () => backend.run(gatheredFfn, { x, rows, up: pair, down: weight }, { activation: 'silu' }),
    'rms_norm, linear': () => {
      norm();
      product();
    },
  };
}

/** Milliseconds that a pass of bare dispatches takes; `each` sets a pipeline and a bind group of so many buffers before every one. */
async function bareDispatches(device: GPUDevice, buffers: number, each: boolean): Promise<() => number> {
  // another value makes another pipeline: equal ones may be one object below
  const codeOf = (value: number) =>
    `@group(0) @binding(1) var<storage, read_write> y: array<u32>; @compute @workgroup_size(1) fn main() { y[0] = ${value}u; }`;
  const operands = Array.from({ length: buffers }, (_, i) => 1 + i);
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
      ...operands.map((binding): GPUBindGroupLayoutEntry => {
        return { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: binding === 1 ? 'storage' : 'read-only-storage' } };
      }),
    ],
  });
  const params = device.createBuffer({ size: 512, usage: GPUBufferUsage.UNIFORM });
  const one = async (value: number) => {
    const module = device.createShaderModule({ code: codeOf(value) });
    const resources = operands.map((binding) => ({
      binding,
      resource: { buffer: device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE }) },
    }));
    return {
      pipeline: await device.createComputePipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      }),
      group: device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: params, size: 256 } }, ...resources] }),
    };
  };
  const pair = [await one(1), await one(2)] as const;
  const offsets = [[0], [256]] as const;
  return () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pair[0].pipeline);
    pass.setBindGroup(0, pair[0].group, offsets[0]);
    const start = performance.now();
    for (let i = 0; i < BARE; i++) {
      if (each) {
        const { pipeline, group } = pair[(i % 2) as 0 | 1];
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group, offsets[(i % 2) as 0 | 1]);
      }
      pass.dispatchWorkgroups(1);
    }
    const spent = performance.now() - start;
    pass.end();
    device.queue.submit([encoder.finish()]);
    return spent;
  };
}

/**
 * Milliseconds a dispatch, in turns, too short to be interrupted often; the GPU is idle when a turn begins. Work that returns a
 * number has timed itself.
 */
async function measureHost(
  device: GPUDevice,
  work: Readonly<Record<string, () => unknown>>,
  dispatchesOf: Readonly<Record<string, number>>,
  rounds: number,
): Promise<Record<'encoding' | 'total', Record<string, Timing>>> {
  let submitting = 0;
  using _timed = replaced(
    GPUQueue.prototype,
    'submit',
    (original) =>
      function (this: unknown, ...args: unknown[]) {
        const start = performance.now();
        original.apply(this, args);
        submitting += performance.now() - start;
      },
  );
  const names = Object.keys(work);
  const found = { encoding: names.map((): number[] => []), total: names.map((): number[] => []) };
  for (let round = -WARM_UPS; round < rounds; round++) {
    for (const [i, name] of names.entries()) {
      await device.queue.onSubmittedWorkDone();
      submitting = 0;
      const start = performance.now();
      const own = work[name]!();
      const spent = performance.now() - start;
      if (round < 0) continue;
      found.total[i]!.push(spent / dispatchesOf[name]!);
      found.encoding[i]!.push((typeof own === 'number' ? own : spent - submitting) / dispatchesOf[name]!);
    }
  }
  const timings = (values: readonly number[][]) =>
    Object.fromEntries(names.map((name, i) => [name, { median: median(values[i]!), best: Math.min(...values[i]!), rounds: values[i]! }]));
  return { encoding: timings(found.encoding), total: timings(found.total) };
}
