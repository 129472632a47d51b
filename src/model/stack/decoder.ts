import type { Backend, SignalOption } from '../../backend/backend.ts';
import { invalidArgument } from '../../backend/errors.ts';
import type { FloatDType, Tensor } from '../../backend/tensor.ts';
import type { Weight } from '../../backend/weight.ts';
import type { Activation } from '../../ops/activation.ts';
import { attention } from '../../ops/attention.ts';
import { embedding } from '../../ops/embedding.ts';
import { gatheredFfn } from '../../ops/gathered-ffn.ts';
import { linear } from '../../ops/linear.ts';
import { rmsNorm } from '../../ops/rms-norm.ts';
import { ropeTables } from '../../ops/rope.ts';
import { ropeAppend } from '../../ops/rope-append.ts';
import { type KvCache, rowsOutside } from './kv-cache.ts';
import { Loader, type LoaderOptions, type Projection, type TensorSource } from './loader.ts';
import type { LayerPlan, Method } from './method.ts';
import { produce } from './produce.ts';
import { copyRows, range, type Sequence } from './sequence.ts';

/** So few rows leave a device little to do in a layer. */
const FEW_ROWS = 8;

export interface DecoderConfig {
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
  /** Head dim; numHeads * headDim need not equal hiddenSize. */
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  /** Default 'neox', as in Hugging Face checkpoints. */
  ropeLayout?: 'neox' | 'interleaved';
  hiddenAct: Activation;
}

export interface PrefillOptions extends SignalOption {
  cache: KvCache;
  method?: Method;
  /** Rows per pass through the layers. Default: the whole prompt at once. */
  chunkSize?: number;
  /** Rows whose final hidden state is wanted, ascending. Default: the last row. */
  outputRows?: Uint32Array;
  /** Sees the hidden states [rows, D] of a chunk after every layer, before the final norm. Do not keep the tensor. */
  onLayer?(layer: number, hidden: Tensor<'f32'>): void | Promise<void>;
}

/** A Llama-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU; pre-norm residual layers. */
export class Decoder implements Disposable {
  readonly backend: Backend;
  readonly config: DecoderConfig;
  readonly #loader: Loader;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: Tensor<'f32'>;

  private constructor(config: DecoderConfig, loader: Loader, layers: readonly DecoderLayer[], norm: Tensor<'f32'>) {
    this.backend = loader.backend;
    this.config = config;
    this.#loader = loader;
    this.#layers = layers;
    this.#norm = norm;
  }

  /** Packs `layers.*` and `norm.weight` of the source (names after `prefix`, e.g. `model.`). */
  static async load(
    backend: Backend,
    source: TensorSource,
    config: DecoderConfig,
    prefix: string,
    options: LoaderOptions = {},
  ): Promise<Decoder> {
    const loader = new Loader(backend, source, options);
    try {
      const layers: DecoderLayer[] = [];
      for (let i = 0; i < config.numLayers; i++) layers.push(await loadLayer(loader, config, `${prefix}layers.${i}.`));
      return new Decoder(config, loader, layers, loader.vector(`${prefix}norm.weight`, [config.hiddenSize]));
    } catch (error) {
      loader[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Runs a composed prompt through all layers and fills the cache, which must have room for it. Returns the hidden states
   * of `outputRows` [n, D] after the final norm; the caller disposes them.
   *
   * Rows that a method evicts never enter the cache when the prompt runs in one chunk: a layer attends over its fresh
   * keys and stores the kept ones, so the full-length keys and values of one layer only are ever alive. In several
   * chunks later rows still need them, and eviction waits for the end of the prompt (spec 1.8, points 8 and 9).
   *
   * An error or an abort, here as in `decode`, leaves the cache with the rows it had.
   */
  async prefill(sequence: Sequence, options: PrefillOptions): Promise<Tensor<'f32'>> {
    const { backend } = this;
    const { cache, method } = options;
    const length = sequence.positions.length;
    const outputRows = options.outputRows ?? range(Math.max(0, length - 1), length);
    checkOutputRows(outputRows, length);
    const chunkSize = Math.max(1, options.chunkSize ?? length);
    const evicted = method?.evict?.(sequence) ?? [];
    const inOneChunk = chunkSize >= length;
    const firstPosition = cache.nextPosition;
    const outputs = backend.empty({ dtype: 'f32', shape: [outputRows.length, this.config.hiddenSize] });
    try {
      for (let start = 0; start < length; start += chunkSize) {
        const end = Math.min(length, start + chunkSize);
        using x = copyRows(backend, sequence.embeds, range(start, end));
        const positions = sequence.positions.subarray(start, end);
        const wanted = within(outputRows, start, end);
        await this.#run(x, positions, cache, wanted, {
          ...options,
          plan: (index) => localPlan(method?.layer?.(index, sequence) ?? {}, start, end),
          evicted: inOneChunk ? evicted : [],
        });
        if (wanted.length > 0) {
          using hidden = this.#finish(x, wanted);
          using all = backend.upload(range(0, wanted.length));
          backend.run(embedding, { table: hidden, ids: all, y: outputs }, { at: outputRows.indexOf(start + wanted[0]!) });
        }
        cache.nextPosition = positions.at(-1)! + 1;
      }
      if (evicted.length > 0) cache.evict(evicted);
      return outputs;
    } catch (error) {
      outputs.dispose();
      cache.trim(firstPosition);
      throw error;
    }
  }

  /** Runs rows [n, D] at the next n positions. Returns their hidden states [n, D] after the final norm. */
  async decode(embeds: Tensor<'f32'>, cache: KvCache, options: SignalOption = {}): Promise<Tensor<'f32'>> {
    const count = embeds.shape[0]!;
    const rows = range(0, count);
    using x = copyRows(this.backend, embeds, rows);
    const positions = range(cache.nextPosition, cache.nextPosition + count);
    try {
      await this.#run(x, positions, cache, rows, { ...options, plan: () => ({}), evicted: [] });
      const hidden = this.#finish(x, rows);
      cache.nextPosition += count;
      return hidden;
    } catch (error) {
      cache.trim(cache.nextPosition);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#loader[Symbol.dispose]();
  }

  /** All layers on rows x [n, D], in place. `wanted` are the rows whose output matters: the last layer computes no others. */
  async #run(x: Tensor<'f32'>, positions: Uint32Array, cache: KvCache, wanted: Uint32Array, options: RunOptions): Promise<void> {
    const { backend, config } = this;
    const all = range(0, positions.length);
    using rotation = makeRotation(backend, config, positions);
    using positionTensor = backend.upload(positions);
    for (const [index, layer] of this.#layers.entries()) {
      const isLast = index === config.numLayers - 1;
      const queries = isLast && wanted.length < all.length ? wanted : undefined;
      const plan = options.plan(index);
      runLayer(backend, config, layer, { x, positions, positionTensor, cache, index, rotation, queries, ...options, plan });
      await options.onLayer?.(index, x);
      // Rows as few as in decoding are handed over many layers at a time.
      await (positions.length > FEW_ROWS ? backend.flush(options) : backend.pause(options));
    }
  }

  /** The final norm of the listed rows. */
  #finish(x: Tensor<'f32'>, rows: Uint32Array): Tensor<'f32'> {
    const { backend } = this;
    const { rmsNormEps: eps } = this.config;
    using picked = rows.length < x.shape[0]! ? copyRows(backend, x, rows) : undefined;
    return produce(backend, [rows.length, x.shape[1]!], (y) => backend.run(rmsNorm, { x: picked ?? x, weight: this.#norm, y }, { eps }));
  }
}

interface RunOptions extends SignalOption {
  plan(layer: number): LayerPlan;
  evicted: readonly (readonly [start: number, end: number])[];
  onLayer?: PrefillOptions['onLayer'];
}

interface DecoderLayer {
  inputNorm: Tensor<'f32'>;
  q: Projection;
  /** Keys, then values. */
  kv: Projection;
  o: Projection;
  postNorm: Tensor<'f32'>;
  gateUp: Weight;
  gateBias?: Tensor<'f32'>;
  upBias?: Tensor<'f32'>;
  down: Projection;
}

async function loadLayer(loader: Loader, config: DecoderConfig, prefix: string): Promise<DecoderLayer> {
  const { hiddenSize: D, intermediateSize: M } = config;
  const [qWidth, kvWidth] = [config.numHeads * config.headDim, config.numKvHeads * config.headDim];
  return {
    inputNorm: loader.vector(`${prefix}input_layernorm.weight`, [D]),
    q: await loader.projection(`${prefix}self_attn.q_proj`, qWidth, D),
    kv: await loader.stacked([`${prefix}self_attn.k_proj`, `${prefix}self_attn.v_proj`], kvWidth, D),
    o: await loader.projection(`${prefix}self_attn.o_proj`, D, qWidth),
    postNorm: loader.vector(`${prefix}post_attention_layernorm.weight`, [D]),
    gateUp: await loader.gateUp(`${prefix}mlp.gate_proj.weight`, `${prefix}mlp.up_proj.weight`, M, D),
    gateBias: loader.optionalVector(`${prefix}mlp.gate_proj.bias`, [M]),
    upBias: loader.optionalVector(`${prefix}mlp.up_proj.bias`, [M]),
    down: await loader.projection(`${prefix}mlp.down_proj`, D, M),
  };
}

/** Cosines and sines of a row list's positions, on the backend. */
interface Rotation extends Disposable {
  cos: Tensor<'f32'>;
  sin: Tensor<'f32'>;
}

function makeRotation(backend: Backend, { headDim, ropeTheta }: DecoderConfig, positions: Uint32Array): Rotation {
  const tables = ropeTables(positions, headDim, ropeTheta);
  const cos = backend.upload(tables.cos, [positions.length, headDim / 2]);
  const sin = backend.upload(tables.sin, [positions.length, headDim / 2]);
  return {
    cos,
    sin,
    [Symbol.dispose]() {
      cos.dispose();
      sin.dispose();
    },
  };
}

interface LayerRun {
  x: Tensor<'f32'>;
  positions: Uint32Array;
  /** The same on the backend. */
  positionTensor: Tensor<'u32'>;
  cache: KvCache;
  index: number;
  rotation: Rotation;
  /** Rows that need an output; undefined for all. The others give keys and values only. */
  queries?: Uint32Array;
  plan: LayerPlan;
  evicted: readonly (readonly [start: number, end: number])[];
}

/**
 * One layer, in place: x += Wo attention(norm(x)), then x[ffnRows] += FFN(norm(x[ffnRows])). A row outside ffnRows leaves
 * the layer as x + attention (Skip-Vision, spec 1.2 step 5).
 */
function runLayer(backend: Backend, config: DecoderConfig, layer: DecoderLayer, run: LayerRun): void {
  const { x, queries, plan } = run;
  const n = x.shape[0]!;
  using rows = queries?.length ? backend.upload(queries) : undefined;
  using q = queries?.length === 0 ? undefined : project(backend, config, layer, layer.q, x, rows);
  using kv = project(backend, config, layer, layer.kv, x);
  using keys = store(backend, config, run, { q, kv, rows });
  if (!q) return;
  using o = attend(backend, config, run, q, keys);
  backend.run(linear, { x: o, ...layer.o, outRows: rows, y: x }, { accumulate: true });

  const ffnRows = intersect(plan.ffnRows, queries);
  if (ffnRows?.length === 0) return;
  using ffnList = ffnRows && ffnRows.length < n ? backend.upload(ffnRows) : undefined;
  const { gateUp: up, gateBias, upBias, down, postNorm: normWeight } = layer;
  backend.run(
    gatheredFfn,
    { x, rows: ffnList, normWeight, up, gateBias, upBias, down: down.weight, downBias: down.bias },
    { activation: config.hiddenAct, norm: 'rms', eps: config.rmsNormEps },
  );
}

/** norm(x[rows]) W^T + bias */
function project(
  backend: Backend,
  { rmsNormEps: eps }: DecoderConfig,
  { inputNorm: normWeight }: DecoderLayer,
  projection: Projection,
  x: Tensor<'f32'>,
  rows?: Tensor<'u32'>,
): Tensor<'f32'> {
  const shape = [rows?.size ?? x.shape[0]!, projection.weight.shape[0]];
  return produce(backend, shape, (y) => backend.run(linear, { x, normWeight, ...projection, rows, y }, { eps }));
}

/** What the queries of a layer look at: k, v [C, Hkv, dh], of which the rows at kPositions count. */
interface Keys extends Disposable {
  k: Tensor<FloatDType>;
  v: Tensor<FloatDType>;
  kPositions: Tensor<'u32'>;
}

interface Projected {
  /** [queries, H * dh], absent when nobody asks. */
  q?: Tensor<'f32'>;
  /** [n, 2 Hkv * dh] */
  kv: Tensor<'f32'>;
  /** Rows that query; undefined for all. */
  rows?: Tensor<'u32'>;
}

/**
 * Rotates q and the keys, and puts keys and values into the cache. Rows that leave it after the prompt never enter where that is
 * possible: then the layer attends over keys and values of its own. So it does before a cache of f16 has rounded them.
 */
function store(backend: Backend, config: DecoderConfig, run: LayerRun, { q, kv, rows }: Projected): Keys {
  const { numHeads, numKvHeads, headDim, ropeLayout: layout = 'neox' } = config;
  const { cache, index, positions, positionTensor, evicted } = run;
  const { cos, sin } = run.rotation;
  const n = positions.length;
  const operands = { q: q?.view([q.shape[0]!, numHeads, headDim]), kv: kv.view([n, 2 * numKvHeads, headDim]), cos, sin, rows };
  const wasEmpty = cache.length(index) === 0;
  const evictsNow = wasEmpty && evicted.length > 0;
  if (evictsNow || cache.dtype === 'f16') {
    // One tensor after the other, as each frees itself when what follows throws.
    const shape = [n, numKvHeads, headDim];
    let v!: Tensor<'f32'>;
    const k = produce(backend, shape, (fresh) => {
      v = produce(backend, shape, (values) => {
        backend.run(ropeAppend, { ...operands, k: fresh, v: values }, { layout, at: 0 });
        cache.append(index, fresh, values, positions, evictsNow ? rowsOutside(positions, evicted) : undefined);
      });
    });
    const free = () => {
      k.dispose();
      v.dispose();
    };
    if (wasEmpty) return { k, v, kPositions: positionTensor, [Symbol.dispose]: free };
    free();
  } else {
    const [k, v] = [cache.keys(index) as Tensor<'f32'>, cache.values(index) as Tensor<'f32'>];
    cache.extend(index, positions, (at) => backend.run(ropeAppend, { ...operands, k, v }, { layout, at }));
  }
  const kPositions = wasEmpty ? positionTensor : cache.positionTensor(index);
  return { k: cache.keys(index), v: cache.values(index), kPositions, [Symbol.dispose]() {} };
}

/** -> [queries, H * dh] */
function attend(backend: Backend, config: DecoderConfig, run: LayerRun, q: Tensor<'f32'>, { k, v, kPositions }: Keys): Tensor<'f32'> {
  const { numHeads, headDim } = config;
  using own = run.queries && backend.upload(Uint32Array.from(run.queries, (row) => run.positions[row]!));
  const perHead = [q.shape[0]!, numHeads, headDim];
  return produce(backend, q.shape, (o) =>
    backend.run(
      attention,
      { q: q.view(perHead), k, v, qPositions: own ?? run.positionTensor, kPositions, o: o.view(perHead) },
      { scale: headDim ** -0.5, causal: true, hiddenKeys: run.plan.hiddenKeys },
    ),
  );
}

function checkOutputRows(rows: Uint32Array, length: number): void {
  rows.forEach((row, i) => {
    if (row >= length) throw invalidArgument('prefill', 'outputRows', `row ${row}`, `rows below ${length}`);
    if (i > 0 && row <= rows[i - 1]!)
      throw invalidArgument('prefill', 'outputRows', `${row} after ${rows[i - 1]}`, 'strictly ascending rows');
  });
}

/** Rows of an ascending list inside [start, end), counted from start. */
function within(rows: Uint32Array, start: number, end: number): Uint32Array {
  return rows.filter((row) => start <= row && row < end).map((row) => row - start);
}

/** A plan over the whole sequence as one over the rows [start, end) of a chunk. */
function localPlan(plan: LayerPlan, start: number, end: number): LayerPlan {
  return { ...plan, ffnRows: plan.ffnRows && within(plan.ffnRows, start, end) };
}

/** Rows in both ascending lists; undefined stands for all rows. */
function intersect(a: Uint32Array | undefined, b: Uint32Array | undefined): Uint32Array | undefined {
  if (!a || !b) return a ?? b;
  const inB = new Set(b);
  return a.filter((row) => inB.has(row));
}
