/**
 * The golden tensors of the self-trained tiny VLM: every intermediate value of a picture and of an answer, as PyTorch
 * computed them in f32. A golden carries the rounding of its own f32 run, so no backend can come nearer than that; see
 * BOUNDS.
 */
import type { Backend } from '../../src/backend/backend.ts';
import { methodByName } from '../../src/methods/index.ts';
import { selectByCls } from '../../src/methods/skip-vision.ts';
import { openCheckpoint } from '../../src/model/files/checkpoint.ts';
import type { Image } from '../../src/model/image/decode.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import { clipBlocks } from '../../src/model/families/blocks.ts';
import { parseSafetensors } from '../../src/model/files/safetensors.ts';
import { type ModelSource, openSource } from '../../src/model/files/source.ts';
import type { Hooks } from '../../src/model/stack/hooks.ts';
import { Loader } from '../../src/model/stack/loader.ts';
import { takeRows } from '../../src/model/stack/rows.ts';
import { loadTower } from '../../src/model/stack/tower.ts';
import { Work } from '../../src/model/stack/work.ts';
import type { Vlm } from '../../src/model/vlm.ts';
import { layerNorm, linear, merge } from '../../src/ops/index.ts';

export interface Comparison {
  name: string;
  /** Largest difference over the largest golden value of the tensor; 0 or 1 for lists that must be equal. */
  error: number;
  bound: number;
}

/**
 * Largest difference allowed, relative to the tensor's largest value. Independent rounding over the longest sums (400
 * terms, 5 sums a layer) would allow 8 * 2^-23 * sqrt(400 * 5 * layers), 4e-5 after one layer and 9e-5 after four. What
 * is seen is 2e-6 at most, PyTorch's own rounding included; ten times that catches any other formula.
 */
const BOUNDS = { pixels: 1e-6, encoder: 1e-5, decoder: 2e-5 } as const;

export type Golden = ReturnType<typeof readGolden>;

export function readGolden(bytes: Uint8Array, name: string) {
  const { tensors, metadata } = parseSafetensors(bytes, name);
  const data = (tensor: string) => {
    const found = tensors.get(tensor)!;
    return new Uint8Array(found.data).buffer; // a copy: aligned, and its own buffer also when the bytes are a Node Buffer
  };
  return {
    metadata,
    names: [...tensors.keys()],
    f32: (tensor: string) => new Float32Array(data(tensor)),
    list: (tensor: string) => Array.from(new Int32Array(data(tensor))),
  };
}

export class GoldenCheck {
  readonly results: Comparison[] = [];
  readonly #seen = new Set<string>();
  readonly golden: Golden;

  constructor(golden: Golden) {
    this.golden = golden;
  }

  values(name: string, got: ArrayLike<number>, bound: number): void {
    this.#seen.add(name);
    const want = this.golden.f32(name);
    const scale = want.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0);
    let error = got.length === want.length ? 0 : Number.POSITIVE_INFINITY;
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs(got[i]! - want[i]!) / scale;
      if (!(difference <= error)) error = difference; // NaN counts as the largest
    }
    this.results.push({ name, error, bound });
  }

  list(name: string, got: ArrayLike<number>): void {
    this.#seen.add(name);
    const want = this.golden.list(name);
    const equal = got.length === want.length && want.every((value, i) => value === got[i]);
    this.results.push({ name, error: equal ? 0 : 1, bound: 0 });
  }

  same(name: string, got: unknown, want: unknown): void {
    this.results.push({ name: `${name} (${got}, not ${want})`, error: Object.is(got, want) ? 0 : 1, bound: 0 });
  }

  /** Golden tensors that nothing was compared with. */
  get missed(): string[] {
    return this.golden.names.filter((name) => !this.#seen.has(name));
  }
}

/** The picture's tensors: vision tower, projectors, selection, merge and summaries. `skip` and `full` share the tower. */
export async function checkScene(golden: Golden, skip: Vlm, full: Vlm, skipFolder: ModelSource, picture: Image): Promise<GoldenCheck> {
  const check = new GoldenCheck(golden);
  const { backend, config } = skip;
  const { channels, imageSize, blocks } = config.tower;
  const work = new Work(backend);
  const pixels = await skip.pixels(picture);
  check.values('pixel_values', pixels, BOUNDS.pixels);
  using pixelTensor = backend.upload(pixels, [channels, imageSize, imageSize]);
  let clsScores!: Tensor<'f32'>;
  const hooks: Hooks = {
    after(layer, _stream, seen) {
      if (layer === blocks.length - 1) clsScores = seen.scores(0, 'sum');
      return undefined;
    },
  };
  using hidden = (await skip.tower.encode(work, pixelTensor, hooks)).x;
  using _scores = clsScores;
  const patches = hidden.shape[0]! - 1;
  const features = hidden.slice(1, 1 + patches);
  check.values('patch_features', await backend.read(features), BOUNDS.encoder);
  check.values('cls_scores', (await backend.read(clsScores)).subarray(1), BOUNDS.encoder);
  check.values('aux_logits', await auxLogits(work, skipFolder, skip, pixelTensor), BOUNDS.encoder);

  using projected = skip.connector.project(work, features);
  check.values('skip.projected', await backend.read(projected), BOUNDS.encoder);
  using fullProjected = full.connector.project(work, features);
  check.values('full.projected', await backend.read(fullProjected), BOUNDS.encoder);

  const { num_retained: count, num_skipped: skipped } = config.json.skip_vision as { num_retained: number; num_skipped: number };
  const [retained, others] = await selectByCls(work, patches, clsScores, count);
  check.list('retained', retained);
  check.list('others', others);
  using otherRows = takeRows(work, projected, others);
  await checkMerge(check, backend, otherRows, skipped);

  using image = await skip.encodeImage(picture, { method: methodByName('skip-vision', config) });
  const summaries = image.parts.filter(({ kind }) => kind === 'summary');
  check.values('q1', await backend.read(summaries[0]!.rows), BOUNDS.encoder);
  check.values('q2', await backend.read(summaries[1]!.rows), BOUNDS.encoder);
  const merged = image.parts.find(({ kind }) => kind === 'skipped')!;
  check.values('merge.rows', await backend.read(merged.rows), BOUNDS.encoder);
  return check;
}

/** The auxiliary head sits on the last block, which inference does not load. */
async function auxLogits(work: Work, folder: ModelSource, { config }: Vlm, pixels: Tensor<'f32'>): Promise<Float32Array> {
  const { backend } = work;
  const checkpoint = await openCheckpoint(openSource(folder));
  const { width, eps, blocks } = config.tower;
  const vision = config.json.vision_config as { num_hidden_layers: number };
  const { inner, heads, activation } = blocks[0]!;
  const sizes = { hiddenSize: width, intermediateSize: inner, numHeads: heads, hiddenAct: activation, layerNormEps: eps };
  const spec = { ...config.tower, blocks: clipBlocks(sizes, vision.num_hidden_layers) };
  using ofTower = new Loader(backend, checkpoint, {}, 'vision_tower.vision_model.');
  const tower = await loadTower(ofTower, spec);
  using loader = new Loader(backend, checkpoint);
  const classes = checkpoint.shape('vision_aux.classifier.weight')[0]!;
  const head = await loader.projection('vision_aux.classifier', classes, width);
  const norm = loader.norm('vision_tower.vision_model.post_layernorm', width);
  using hidden = (await tower.encode(work, pixels)).x;
  using normed = backend.empty({ dtype: 'f32', shape: [1, width] });
  backend.run(layerNorm, { x: hidden.slice(0, 1), ...norm, y: normed }, { eps });
  using logits = backend.empty({ dtype: 'f32', shape: [1, classes] });
  backend.run(linear, { x: normed, ...head, y: logits }, {});
  return backend.read(logits);
}

/** The merge op gives destinations and assignment; order, redundancy and counts follow from them and from its input. */
async function checkMerge(check: GoldenCheck, backend: Backend, rows: Tensor<'f32'>, kept: number): Promise<void> {
  const [N, C] = rows.shape as [number, number];
  using y = backend.empty({ dtype: 'f32', shape: [kept, C] });
  using destinations = backend.empty({ dtype: 'u32', shape: [kept] });
  using assignment = backend.empty({ dtype: 'u32', shape: [N] });
  backend.run(merge, { x: rows, y, destinations, assignment }, {});
  const redundancy = redundancies(await backend.read(rows), N, C);
  check.values('merge.redundancy', redundancy, BOUNDS.encoder);
  const into = await backend.read(assignment);
  const chosen = await backend.read(destinations);
  const isDestination = new Set(chosen);
  const sources = Array.from(redundancy.keys())
    .filter((row) => !isDestination.has(row))
    .sort((a, b) => redundancy[b]! - redundancy[a]! || a - b);
  check.list('merge.order', [...sources, ...chosen]);
  check.list(
    'merge.dst',
    sources.map((row) => into[row]!),
  );
  check.values('merge.count', divisors(await backend.read(rows), into, await backend.read(y), C), BOUNDS.encoder);
}

/** By how much each merged row [C] is smaller than the sum of the rows assigned to it: how many the op took for its mean. */
function divisors(rows: Float32Array, assignment: Uint32Array, merged: Float32Array, C: number): Float64Array {
  return Float64Array.from({ length: merged.length / C }, (_, i) => {
    const mean = merged.subarray(i * C, (i + 1) * C);
    const along = (row: number) => mean.reduce((sum, value, c) => sum + value * rows[row * C + c]!, 0);
    const assigned = [...assignment.keys()].filter((row) => assignment[row] === i);
    return assigned.reduce((sum, row) => sum + along(row), 0) / mean.reduce((sum, value) => sum + value ** 2, 0);
  });
}

function redundancies(rows: Float32Array, N: number, C: number): Float64Array {
  const unit = Float64Array.from(rows);
  const total = new Float64Array(C);
  for (let i = 0; i < N; i++) {
    const length = Math.hypot(...rows.subarray(i * C, (i + 1) * C));
    for (let c = 0; c < C; c++) total[c]! += unit[i * C + c]! /= length;
  }
  return Float64Array.from({ length: N }, (_, i) => total.reduce((sum, value, c) => sum + value * unit[i * C + c]!, -1));
}

export { BOUNDS };
