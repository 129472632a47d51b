/** Picks the shapes of the product kernels by timing them on the device. */
import { BACKEND, type Backend } from '../../backend/backend.ts';
import { SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import type { Constants, GpuWeight, Shapes } from '../../backend/webgpu/binding.ts';
import { type WebGpuDriver, webGpuDriverOf } from '../../backend/webgpu/driver.ts';
import { product, productChoice } from './webgpu.ts';

/** Work per timing: shorter ones say more about the clock. */
const LEAST_MS = 2;
/** A candidate must be this much faster than the shape that is taken without tuning. */
const WORTH = 0.95;
const AGREES = 1e-4;
const SIZE = 1024;
const ROW_BYTES = 4 * SIZE;
/** Rows that stand for a class of products, largest work last. */
const CLASSES = [
  ['few', 1],
  ['some', 64],
  ['many', 512],
] as const;

export interface Tuning {
  /** Constants of the product kernels by the number of rows: `few` up to 8, `some` up to 64, `many`. Absent: as without tuning. */
  readonly shapes: Shapes;
  /** A line for every shape that was tried, and for what was not. */
  readonly reasons: readonly string[];
}

/** What `few` and the others may be instead. All keep to the default limits of WebGPU. */
export const FEW_SHAPES = /* @__PURE__ */ [64, 128, 256].flatMap((THREADS) => [4, 8, 16].map((QUADS) => ({ QUADS, THREADS })));
export const TILE_SHAPES = [
  { TM: 4, NX: 16, NY: 16 },
  { TM: 4, NX: 8, NY: 8 },
  { TM: 4, NX: 8, NY: 4 },
  { TM: 8, NX: 16, NY: 8 },
  { TM: 8, NX: 8, NY: 8 },
  { TM: 4, NX: 16, NY: 8 },
  { TM: 4, NX: 8, NY: 16 },
];

export const TUNE_WEBGPU_FIELDS = {
  backend: BACKEND,
  options: field.optional(field.record<{ budgetMs?: number }>({ budgetMs: field.optional(field.number({ min: 0 })) })),
};

/**
 * Times shapes of the matrix product kernels on the device for at most `budgetMs` and takes those that are faster and agree with the
 * shapes taken before; `backend.description` tells which. Keep the result as `tuning` of a later backend on the same adapter.
 * Call it before the backend is used, as sums of few rows depend on the shape.
 */
export async function tuneWebGpu(backend: Backend, options: { budgetMs?: number } = {}): Promise<Tuning> {
  field.checkFields('tuneWebGpu', { backend, options }, TUNE_WEBGPU_FIELDS);
  const driver = webGpuDriverOf(backend);
  if (!driver) {
    const details = { argument: 'backend', got: backend.name, expected: 'webgpu' };
    throw new SkipVisionError('wrong-backend', `tuneWebGpu: this is a ${backend.name} backend`, details);
  }
  await backend.flush();
  const tuning = await driver.orLost(tune(driver, options.budgetMs ?? 150));
  driver.keepShapes(tuning.shapes);
  return tuning;
}

/** Takes no longer than the budget, whatever the device does. */
async function tune(driver: WebGpuDriver, budgetMs: number): Promise<Tuning> {
  const shapes: Record<string, Constants> = {};
  const reasons: string[] = [];
  using trial = startTrial(driver, budgetMs);
  for (const [name, count] of CLASSES) {
    const base = await trial.time(count, {});
    if (typeof base === 'string') {
      reasons.push(`${name} rows: ${base}`);
      continue;
    }
    const candidates = name === 'few' ? FEW_SHAPES : TILE_SHAPES;
    for (const shape of candidates) trial.compile(count, { [name]: shape }).catch(() => {}); // all at once; `time` waits for its own
    let best = base.ms * WORTH;
    for (const shape of candidates) {
      const found = await trial.time(count, { [name]: shape });
      const agrees = typeof found !== 'string' && agree(found.result, base.result);
      const share = agrees && `${(found.ms / base.ms).toFixed(2)} of the time without tuning`;
      reasons.push(`${name} rows, ${JSON.stringify(shape)}: ${typeof found === 'string' ? found : share || 'gives other results'}`);
      if (agrees && found.ms < best) {
        best = found.ms;
        shapes[name] = shape;
      }
    }
  }
  return { shapes, reasons };
}

/** Products of SIZE inputs and outputs under shapes to choose from, which are timed until the budget is used up. */
function startTrial(driver: WebGpuDriver, budgetMs: number) {
  let over = false;
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<'no time left'>((resolve) => {
    timer = setTimeout(() => {
      over = true;
      resolve('no time left');
    }, budgetMs);
  });
  const rows = CLASSES[2][1];
  const operand = driver.allocate(SIZE * ROW_BYTES);
  const x = driver.allocate(rows * ROW_BYTES);
  const y = driver.allocate(rows * ROW_BYTES);
  driver.write(operand, numbers(SIZE * SIZE));
  driver.write(x, numbers(rows * SIZE));
  const weight: GpuWeight = { slices: [{ operand, first: 0, count: SIZE }], parts: 1, dtype: 'f32', zeros: false };

  const compile = (count: number, shapes: Shapes) => {
    const { kernel, constants } = productChoice({ vendor: driver.vendor, shapes }, count, SIZE);
    return driver.compile(kernel, constants);
  };
  const run = async (count: number, shapes: Shapes, calls: number, bytes: number) => {
    if (over) throw new Error('no time left'); // nobody listens, and the buffers are gone
    const start = performance.now();
    for (let i = 0; i < calls; i++) driver.runWith(shapes, (gpu) => product(gpu, { x, count, K: SIZE, weight, N: SIZE, y }));
    const result = new Float32Array(await driver.read(y, 0, bytes));
    return { ms: (performance.now() - start) / calls, result };
  };
  const measure = async (count: number, shapes: Shapes) => {
    try {
      await compile(count, shapes);
    } catch {
      return 'does not compile';
    }
    const { result } = await run(count, shapes, 1, count * ROW_BYTES); // warms up
    const calls = Math.max(1, Math.ceil(LEAST_MS / (await run(count, shapes, 1, 4)).ms));
    const [first, second] = [await run(count, shapes, calls, 4), await run(count, shapes, calls, 4)];
    return { ms: Math.min(first.ms, second.ms), result };
  };
  return {
    compile,
    /** Milliseconds of a product and its result, or why there are none. */
    time: (count: number, shapes: Shapes) => (over ? late : Promise.race([measure(count, shapes), late])),
    [Symbol.dispose]() {
      over = true;
      clearTimeout(timer);
      for (const each of [operand, x, y]) driver.free(each);
    },
  };
}

function numbers(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => ((i * 7919) % 1009) / 1009 - 0.5);
}

function agree(a: Float32Array, b: Float32Array): boolean {
  let largest = 0;
  for (const value of b) largest = Math.max(largest, Math.abs(value));
  return a.every((value, i) => Math.abs(value - b[i]!) <= AGREES * largest);
}
