/** One method on one decoder: what its prompts and tokens took, layer by layer and op by op. */
import type { Backend, TraceEvent } from '../../src/backend/backend.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import type { Decoder } from '../../src/model/stack/decoder.ts';
import type { Method, Seen } from '../../src/model/stack/hooks.ts';
import type { KvCache } from '../../src/model/stack/kv-cache.ts';
import type { TensorSource } from '../../src/model/stack/loader.ts';
import { assemble, type Part, range } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import { Random } from '../random.ts';
import type { Turn } from './turns.ts';
import { uniform } from './data.ts';

/** Rows a cache has room for behind the prompt. */
const ROOM = 80;

/** What was traced since the last lap. */
export class Meter implements Disposable {
  readonly #tracing: Disposable;
  #events: TraceEvent[] = [];
  #start = performance.now();

  constructor(backend: Backend) {
    this.#tracing = backend.trace((event) => void this.#events.push(event));
  }

  start(): void {
    this.#events = [];
    this.#start = performance.now();
  }

  lap(): Step {
    const milliseconds = performance.now() - this.#start;
    const byOp = new Map<string, number>();
    let [flops, bytes] = [0, 0];
    for (const event of this.#events) {
      flops += event.flops;
      bytes += event.bytes;
      byOp.set(event.op, (byOp.get(event.op) ?? 0) + event.milliseconds!);
    }
    return { milliseconds, flops, bytes, byOp };
  }

  [Symbol.dispose](): void {
    this.#tracing[Symbol.dispose]();
  }
}

export interface Step {
  milliseconds: number;
  flops: number;
  /** Of operands read and written. */
  bytes: number;
  /** Milliseconds. */
  byOp: Map<string, number>;
}

export class Run implements Disposable {
  readonly method: Method;
  /** Each decoded token. */
  readonly tokens: Step[] = [];
  kvBytes = 0;
  readonly #decoder: Decoder;
  readonly #work: Work;
  readonly #rows: Record<'text' | 'image', Tensor<'f32'>>;
  readonly #clsScores: Float32Array;
  readonly #parameters = new Map<string, Tensor<'f32'>>();
  /** Fastest run of each step of a prompt: compose, then the layers. */
  readonly #steps: Step[] = [];
  #cache: KvCache | undefined;

  constructor(decoder: Decoder, method: Method, text: number, image: number) {
    this.method = method;
    this.#decoder = decoder;
    const random = new Random(5);
    const { backend, spec } = decoder;
    this.#work = new Work(backend);
    const rows = (count: number) => backend.upload(uniform(random, count * spec.width, 1), [count, spec.width]);
    this.#rows = { text: rows(text), image: rows(image) };
    this.#clsScores = uniform(random, image + 1, 1);
  }

  /** The text's first half, the image, the other half; hands over after every layer. */
  async prefill(meter: Meter, turn: Turn): Promise<void> {
    const { backend, spec } = this.#decoder;
    meter.start();
    let step = 0;
    const take = () => this.#keepBest(step++, meter.lap());
    const half = this.#rows.text.shape[0]! / 2;
    const text = (): Part => ({ kind: 'text', rows: this.#rows.text.slice(0, half) });
    const depth = { tower: 1, decoder: spec.blocks.length };
    using run = await this.method.start({ work: this.#work, depth, tensor: async (name, shape) => this.#parameter(name, shape) });
    const image = { x: this.#rows.image, rows: { order: range(0, this.#rows.image.shape[0]!), segments: [] } };
    // What the tower would have shown.
    run.tower?.after?.(0, image, { scores: () => backend.upload(this.#clsScores) } as unknown as Seen);
    const parts = await run.compose?.(image);
    const prompt = assemble(this.#work, [text(), ...(parts ?? [{ kind: 'image', rows: image.x }]), text()], spec.width);
    for (const { rows } of parts ?? []) rows.dispose();
    this.#cache?.[Symbol.dispose]();
    this.#cache = this.#decoder.makeCache({ room: ROOM });
    take();
    const onLayer = async () => {
      take();
      await turn();
      meter.start();
    };
    await turn();
    meter.start();
    const { hidden } = await this.#decoder.prefill(prompt, { cache: this.#cache, run, onLayer });
    take();
    hidden.dispose();
    this.kvBytes = this.#cache.bytes;
  }

  async decode(meter: Meter): Promise<void> {
    const row = this.#rows.text.slice(0, 1);
    meter.start();
    using hidden = await this.#decoder.decode(row, this.#cache!);
    this.tokens.push(meter.lap());
    hidden.dispose();
  }

  /** The whole prompt, every step at its best. */
  summary(): Step {
    const sum: Step = { milliseconds: 0, flops: 0, bytes: 0, byOp: new Map() };
    for (const { milliseconds, flops, bytes, byOp } of this.#steps) {
      sum.milliseconds += milliseconds;
      sum.flops += flops;
      sum.bytes += bytes;
      for (const [op, ms] of byOp) sum.byOp.set(op, (sum.byOp.get(op) ?? 0) + ms);
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#cache?.[Symbol.dispose]();
    for (const tensor of [this.#rows.text, this.#rows.image, ...this.#parameters.values()]) tensor.dispose();
  }

  #keepBest(index: number, step: Step): void {
    const held = this.#steps[index];
    if (!held || step.milliseconds < held.milliseconds) this.#steps[index] = step;
  }

  #parameter(name: string, shape: readonly number[]): Tensor<'f32'> {
    const length = shape.reduce((product, extent) => product * extent, 1);
    const held = this.#parameters.get(name) ?? this.#decoder.backend.upload(uniform(new Random(9), length, 1), shape);
    this.#parameters.set(name, held);
    return held;
  }
}

const POOL = 2 ** 20;

/** Weights of any name and shape, without biases: random, and repeating every million numbers, as more would take minutes. */
export function randomSource(): TensorSource {
  const pool = uniform(new Random(3), POOL, 1);
  return {
    has: () => false,
    tensor(_name, shape) {
      const length = shape.reduce((product, extent) => product * extent, 1);
      if (shape.length === 1) return new Float32Array(length).fill(1);
      const scale = 1 / Math.sqrt(shape[1]!);
      const scaled = pool.map((value) => value * scale);
      const data = new Float32Array(length);
      for (let at = 0; at < length; at += POOL) data.set(scaled.subarray(0, Math.min(POOL, length - at)), at);
      return data;
    },
  };
}
