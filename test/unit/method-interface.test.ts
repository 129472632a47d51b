/**
 * Three throwaway methods, as a test of the interface: none of them is known to the stack, and each is compared with a plain
 * reference. One drops rows after a block, one runs blocks over rows chosen on the device, one merges rows inside a tower.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import { clipBlocks, llamaDecoder } from '../../src/model/families/blocks.ts';
import { Decoder } from '../../src/model/stack/decoder.ts';
import type { Method, Plan } from '../../src/model/stack/hooks.ts';
import { keepRows, range, type Stream } from '../../src/model/stack/rows.ts';
import { Loader } from '../../src/model/stack/loader.ts';
import { loadTower } from '../../src/model/stack/tower.ts';
import type { TowerSpec } from '../../src/model/stack/tower-spec.ts';
import { Scope, Work } from '../../src/model/stack/work.ts';
import { copyRows, linear, topKRows } from '../../src/ops/index.ts';
import { nodeBackends } from '../node-backends.ts';
import { Random } from '../random.ts';
import { type PlainRow, PlainStack } from './plain-stack.ts';

/** After block `after`: the `keep` rows stay to which the last row attends most, itself among them. */
function dropRows(after: number, keep: number): Method {
  return {
    name: 'drop-rows',
    key: `drop-rows ${after} ${keep}`,
    async start({ work }) {
      return {
        decoder: {
          async after(layer, stream, seen) {
            if (layer !== after) return undefined;
            const last = stream.rows.order.length - 1;
            using scores = seen.scores(last, 'mean');
            using rows = work.backend.empty({ dtype: 'u32', shape: [keep] });
            work.run(topKRows, { scores, rows }, { k: keep - 1, alwaysKeep: [[last, last + 1]] });
            return keepRows(work, stream, await work.backend.read(rows));
          },
        },
        [Symbol.dispose]() {},
      };
    },
  };
}

/** In every odd block: a router w . x scores the rows, the best `count` run the block, their update is scaled by the score. */
function routeRows(count: number): Method {
  return {
    name: 'route-rows',
    key: `route-rows ${count}`,
    async start({ work, tensor }) {
      const made = new Scope();
      const router = await tensor('router', [1, WIDTH]);
      const weight = made.keep(await work.backend.pack({ data: await work.backend.read(router), shape: [1, WIDTH] }));
      return {
        decoder: {
          plan(layer, { x }): Plan {
            if (layer % 2 === 0) return {};
            const scores = made.keep(work.produce([x.shape[0]!, 1], (y) => work.run(linear, { x, weight, y }, {})));
            const rows = made.keep(work.backend.empty({ dtype: 'u32', shape: [count] }));
            work.run(topKRows, { scores: scores.view([scores.size]), rows }, { k: count });
            const gate = made.keep(work.produce([count, 1], (y) => work.run(copyRows, { x: scores, rows, y }, {})));
            return { rows, gate: gate.view([count]) };
          },
        },
        [Symbol.dispose]: () => made[Symbol.dispose](),
      };
    },
  };
}

/** Between attention and FFN of every block: the neighbours whose keys are most alike become one; its size counts in later attention. */
function mergeRows(): Method {
  return {
    name: 'merge-rows',
    key: 'merge-rows',
    async start({ work: { backend } }) {
      let sizes: number[] = [];
      const made = new Scope();
      return {
        tower: {
          plan: () => (sizes.length > 0 ? { keyBias: made.keep(backend.upload(Float32Array.from(sizes, Math.log))) } : {}),
          async between(_layer, { x, rows }, seen): Promise<Stream> {
            const [n, D] = x.shape as [number, number];
            if (sizes.length === 0) sizes = Array.from({ length: n }, () => 1);
            const keys = chunk(await backend.read(seen.k as Tensor<'f32'>), n);
            const values = chunk(await backend.read(x), n);
            const at = mostAlike(keys);
            const merged = mergeAt(values, sizes, at);
            sizes = merged.sizes;
            const order = rows.order.filter((_, row) => row !== at + 1);
            const data = Float32Array.from(merged.values.flat());
            return { x: backend.upload(data, [n - 1, D]), rows: { order, segments: [{ kind: 'image', start: 0, end: n - 1 }] } };
          },
        },
        [Symbol.dispose]: () => made[Symbol.dispose](),
      };
    },
  };
}

function chunk(data: Float32Array, rows: number): number[][] {
  const width = data.length / rows;
  return Array.from({ length: rows }, (_, row) => [...data.subarray(row * width, (row + 1) * width)]);
}

/** The first of the two neighbours with the largest cosine. */
function mostAlike(keys: readonly (readonly number[])[]): number {
  const cosines = keys.slice(1).map((b, i) => {
    const a = keys[i]!;
    const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, c) => sum + value * y[c]!, 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  });
  return cosines.indexOf(Math.max(...cosines));
}

function mergeAt(values: readonly number[][], sizes: readonly number[], at: number): { values: number[][]; sizes: number[] } {
  const [a, b] = [sizes[at]!, sizes[at + 1]!];
  const mean = values[at]!.map((value, d) => (a * value + b * values[at + 1]![d]!) / (a + b));
  return { values: [...values.slice(0, at), mean, ...values.slice(at + 2)], sizes: [...sizes.slice(0, at), a + b, ...sizes.slice(at + 2)] };
}

const [WIDTH, ROWS] = [24, 21];
const SPEC = llamaDecoder({
  hiddenSize: WIDTH,
  intermediateSize: 40,
  numLayers: 4,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 6,
  rmsNormEps: 1e-5,
  ropeTheta: 100,
  hiddenAct: 'silu',
});
const TOWER: TowerSpec = {
  imageSize: 12,
  patchSize: 3,
  channels: 3,
  width: WIDTH,
  eps: 1e-5,
  blocks: clipBlocks({ hiddenSize: WIDTH, intermediateSize: 36, numHeads: 3, hiddenAct: 'gelu', layerNormEps: 1e-5 }, 3),
  names: { patches: 'patches', positions: 'positions' },
};

/** The same random tensor for a name, whoever asks. */
const made = new Map<string, Float32Array>();
function tensors(name: string, shape: readonly number[]): Float32Array {
  const size = shape.reduce((a, b) => a * b);
  const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 100003, 7);
  const values = made.get(name) ?? new Random(seed).normal(size, shape.length > 1 ? 0.3 : 1);
  made.set(name, values);
  return values;
}
const source = { has: (name: string) => !/proj\.bias|fc\d\.bias|patches\.bias/.test(name), tensor: tensors };
const INPUT = new Random(3).normal(ROWS * WIDTH);
const TOKENS = new Random(4).normal(2 * WIDTH);

function plainRows(): PlainRow[] {
  return chunk(INPUT, ROWS).map((x, order) => ({ x, order }));
}

/** Decodes TOKENS after a prompt in the plain stack, every row in full. */
function plainAnswer(stack: PlainStack, rows: readonly PlainRow[]): number[][] {
  const results = [stack.finish(rows.at(-1)!, 'norm', 1e-5)];
  for (const [i, x] of chunk(TOKENS, 2).entries()) {
    const row: PlainRow = { x, order: ROWS + i };
    for (const layer of stack.blocks.keys()) {
      stack.attend(layer, [row]);
      stack.ffn(layer, [row]);
    }
    results.push(stack.finish(row, 'norm', 1e-5));
  }
  return results;
}

/** The same on a backend; asserts that nothing stays behind. */
async function answer(backend: Backend, method: Method, chunkSize: number | undefined) {
  const { tensors: before, weights } = backend.memory();
  const results: number[][] = [];
  let lengths: number[];
  {
    const work = new Work(backend);
    using decoder = await Decoder.load(backend, source, SPEC, '');
    using router = backend.upload(tensors('router', [1, WIDTH]), [1, WIDTH]);
    using run = await method.start({ work, depth: { tower: 0, decoder: 4 }, tensor: async () => router });
    using cache = decoder.makeCache({ room: 2 });
    const stream = { x: backend.upload(INPUT, [ROWS, WIDTH]), rows: { order: range(0, ROWS), segments: [] } };
    const { hidden } = await decoder.prefill(stream, { cache, run, chunkSize, work });
    using _hidden = hidden;
    lengths = SPEC.blocks.map((_, layer) => cache.length(layer));
    results.push([...(await backend.read(hidden))]);
    using tokens = backend.upload(TOKENS, [2, WIDTH]);
    for (const i of [0, 1]) {
      using next = await decoder.decode(tokens.slice(i, i + 1), cache, { work, hooks: run.decoder });
      results.push([...(await backend.read(next))]);
    }
    expect(work.flops).toBeGreaterThan(0);
  }
  expect(backend.memory()).toMatchObject({ tensors: before, weights });
  return { results, lengths };
}

function expectClose(got: readonly (readonly number[])[], want: readonly (readonly number[])[]): void {
  expect(got.map((row) => row.length)).toEqual(want.map((row) => row.length));
  const scale = Math.max(...want.flat().map(Math.abs));
  const error = Math.max(...got.flatMap((row, i) => row.map((value, d) => Math.abs(value - want[i]![d]!))));
  expect(error / scale).toBeLessThan(2e-5);
}

describe.each(nodeBackends())('methods unknown to the stack, on $name', ({ create }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await create();
  });
  afterAll(() => backend[Symbol.asyncDispose]());

  test.each([undefined, 1, 5, 20, 64])('rows leave after a block by the attention of the last row; chunks of %s', async (chunkSize) => {
    const [after, keep] = [1, 7];
    const stack = new PlainStack(SPEC.blocks, tensors);
    let rows = plainRows();
    for (const layer of SPEC.blocks.keys()) {
      const { probabilities } = stack.attend(layer, rows);
      stack.ffn(layer, rows);
      if (layer !== after) continue;
      const last = probabilities.at(-1)!;
      const scores = last[0]!.map((_, key) => last.reduce((sum, head) => sum + head[key]!, 0));
      const best = [...scores.keys()]
        .slice(0, -1)
        .sort((a, b) => scores[b]! - scores[a]!)
        .slice(0, keep - 1);
      rows = rows.filter((_, row) => best.includes(row) || row === ROWS - 1);
    }
    const { results, lengths } = await answer(backend, dropRows(after, keep), chunkSize);
    expect(lengths).toEqual([ROWS, ROWS, keep, keep]);
    expectClose(results, plainAnswer(stack, rows));
  });

  test.each([undefined, 1, 5, 20, 64])('a gated block over rows chosen on the device; chunks of %s', async (chunkSize) => {
    const count = 6;
    const stack = new PlainStack(SPEC.blocks, tensors);
    const rows = plainRows();
    const router = tensors('router', [1, WIDTH]);
    for (const layer of SPEC.blocks.keys()) {
      const scores = rows.map(({ x }) => x.reduce((sum, value, d) => sum + value * router[d]!, 0));
      const chosen = [...scores.keys()]
        .sort((a, b) => scores[b]! - scores[a]!)
        .slice(0, count)
        .sort((a, b) => a - b);
      const taken = layer % 2 === 0 ? rows : chosen.map((row) => ({ ...rows[row]! }));
      stack.attend(layer, taken);
      stack.ffn(layer, taken);
      if (layer % 2 === 0) continue;
      for (const [i, row] of chosen.entries())
        rows[row]!.x = rows[row]!.x.map((value, d) => value + scores[row]! * (taken[i]!.x[d]! - value));
    }
    const { results, lengths } = await answer(backend, routeRows(count), chunkSize);
    expect(lengths).toEqual([ROWS, count, ROWS, count]);
    expectClose(results, plainAnswer(stack, rows));
  });

  test('rows merge in a tower, and sizes bias its attention', async () => {
    const { tensors: before, weights } = backend.memory();
    const stack = new PlainStack(TOWER.blocks, tensors);
    const pixels = new Random(5).normal(3 * 12 * 12);
    let rows = plainPatches(pixels);
    let sizes = rows.map(() => 1);
    for (const layer of TOWER.blocks.keys()) {
      const { k } = stack.attend(layer, rows, sizes.map(Math.log));
      const at = mostAlike(k);
      const merged = mergeAt(
        rows.map(({ x }) => x),
        sizes,
        at,
      );
      sizes = merged.sizes;
      rows = merged.values.map((x, order) => ({ x, order }));
      stack.ffn(layer, rows);
    }
    {
      const work = new Work(backend);
      using loader = new Loader(backend, source);
      const tower = await loadTower(loader, TOWER);
      using input = backend.upload(pixels, [3, 12, 12]);
      using run = await mergeRows().start({ work, depth: { tower: 3, decoder: 0 }, tensor: () => Promise.reject(new Error('none')) });
      const { x, rows: left } = await tower.encode(work, input, run.tower);
      using _x = x;
      expect(left.order).toHaveLength(16 - 3);
      expectClose(
        chunk(await backend.read(x), 13),
        rows.map((row) => row.x),
      );
    }
    expect(backend.memory()).toMatchObject({ tensors: before, weights });
  });
});

/** A patch times the flattened kernel, plus its position. */
function plainPatches(pixels: Float32Array): PlainRow[] {
  const kernel = tensors('patches.weight', [WIDTH, 3, 3, 3]);
  const positions = tensors('positions.weight', [16, WIDTH]);
  return Array.from({ length: 16 }, (_, order) => {
    const [top, left] = [Math.floor(order / 4) * 3, (order % 4) * 3];
    const patch = Array.from(
      { length: 27 },
      (_, i) => pixels[Math.floor(i / 9) * 144 + (top + Math.floor((i % 9) / 3)) * 12 + left + (i % 3)]!,
    );
    const x = Array.from({ length: WIDTH }, (_, d) =>
      patch.reduce((sum, value, i) => sum + value * kernel[d * 27 + i]!, positions[order * WIDTH + d]!),
    );
    return { x, order };
  });
}
