/** Picks the shapes of the product kernels by timing them on the device. */
import { BACKEND, type Backend } from '../../backend/backend.ts';
import { SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import type { GpuBench } from '../../backend/webgpu/bench.ts';
import type { Constants, GpuOperand, GpuWeight, Shapes } from '../../backend/webgpu/binding.ts';
import { benchOf } from '../../backend/webgpu/driver.ts';
import type { GpuKernel } from '../../backend/webgpu/kernel.ts';
import { product, productChoice, productKernels } from './webgpu.ts';

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
  const bench = benchOf(backend);
  if (!bench) {
    const details = { argument: 'backend', got: backend.name, expected: 'webgpu' };
    throw new SkipVisionError('wrong-backend', `tuneWebGpu: this is a ${backend.name} backend`, details);
  }
  await backend.flush();
  const tuning = await bench.orLost(tune(bench, options.budgetMs ?? 150));
  bench.keep(tuning.shapes);
  return tuning;
}

/** Takes no longer than the budget, whatever the device does. */
async function tune(bench: GpuBench, budgetMs: number): Promise<Tuning> {
  const shapes: Record<string, Constants> = {};
  const reasons: string[] = [];
  using trial = new Trial(bench, budgetMs);
  for (const [name, count] of CLASSES) {
    const { kernel, constants } = productChoice({ vendor: bench.vendor, shapes: {} }, count, SIZE);
    const base = await trial.time(name, count, undefined, kernel, constants);
    if (typeof base === 'string') {
      reasons.push(`${name} rows: ${base}`);
      continue;
    }
    const isFew = name === 'few';
    const candidates = isFew ? FEW_SHAPES : TILE_SHAPES;
    const compile = (shape: Constants) =>
      [isFew ? productKernels().few : productKernels().tiled, isFew ? { ROWS: count, ...shape } : shape] as const;
    for (const shape of candidates) bench.prepare(...compile(shape)).catch(() => {}); // all at once; `time` waits for its own
    let best = base.ms * WORTH;
    for (const shape of candidates) {
      const found = await trial.time(name, count, shape, ...compile(shape));
      let reason = found;
      if (typeof found !== 'string') {
        const agrees = agree(found.result, base.result);
        reason = agrees ? `${(found.ms / base.ms).toFixed(2)} of the time without tuning` : 'gives other results';
        if (agrees && found.ms < best) {
          best = found.ms;
          shapes[name] = shape;
        }
      }
      reasons.push(`${name} rows, ${JSON.stringify(shape)}: ${reason as string}`);
    }
  }
  return { shapes, reasons };
}

/** Products of SIZE inputs and outputs that are timed until the budget is used up. */
class Trial implements Disposable {
  readonly #bench: GpuBench;
  readonly #late: Promise<'no time left'>;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #x: GpuOperand;
  readonly #y: GpuOperand;
  readonly #weights: GpuOperand;
  #over = false;

  constructor(bench: GpuBench, budgetMs: number) {
    this.#bench = bench;
    let end!: (value: 'no time left') => void;
    this.#late = new Promise((resolve) => {
      end = resolve;
    });
    this.#timer = setTimeout(() => {
      this.#over = true;
      end('no time left');
    }, budgetMs);
    const rows = CLASSES[2][1];
    this.#weights = bench.allocate(SIZE * ROW_BYTES);
    this.#x = bench.allocate(rows * ROW_BYTES);
    this.#y = bench.allocate(rows * ROW_BYTES);
    bench.write(this.#weights, numbers(SIZE * SIZE));
    bench.write(this.#x, numbers(rows * SIZE));
  }

  /** Milliseconds of a product and its result, or why there are none. */
  async time(
    name: string,
    count: number,
    shape: Constants | undefined,
    kernel: GpuKernel,
    constants: Constants,
  ): Promise<{ ms: number; result: Float32Array } | string> {
    const work = async () => {
      try {
        await this.#bench.prepare(kernel, constants);
      } catch {
        return 'does not compile';
      }
      const shapes = shape ? { [name]: shape } : {};
      const { result } = await this.#calls(shapes, count, 1, count * ROW_BYTES); // warms up
      const calls = Math.max(1, Math.ceil(LEAST_MS / (await this.#calls(shapes, count, 1, 4)).ms));
      const [first, second] = [await this.#calls(shapes, count, calls, 4), await this.#calls(shapes, count, calls, 4)];
      return { ms: Math.min(first.ms, second.ms), result };
    };
    return this.#over ? this.#late : Promise.race([work(), this.#late]);
  }

  async #calls(shapes: Shapes, count: number, calls: number, bytes: number): Promise<{ ms: number; result: Float32Array }> {
    if (this.#over) throw new Error('no time left'); // nobody listens, and the buffers are gone
    const start = performance.now();
    const weight: GpuWeight = { slices: [{ operand: this.#weights, first: 0, count: SIZE }], parts: 1, dtype: 'f32', zeros: false };
    const call = { x: this.#x, count, K: SIZE, weight, N: SIZE, y: this.#y };
    for (let i = 0; i < calls; i++) this.#bench.run(shapes, (gpu) => product(gpu, call));
    const result = new Float32Array(await this.#bench.read(this.#y, bytes));
    return { ms: (performance.now() - start) / calls, result };
  }

  [Symbol.dispose](): void {
    this.#over = true;
    clearTimeout(this.#timer);
    for (const operand of [this.#weights, this.#x, this.#y]) this.#bench.free(operand);
  }
}

function numbers(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => ((i * 7919) % 1009) / 1009 - 0.5);
}

function agree(a: Float32Array, b: Float32Array): boolean {
  let largest = 0;
  for (const value of b) largest = Math.max(largest, Math.abs(value));
  return a.every((value, i) => Math.abs(value - b[i]!) <= AGREES * largest);
}
