import { BACKEND, type Backend, SIGNAL_OPTION, type SignalOption } from '../../backend/backend.ts';
import { invalidArgument } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import type { Tensor } from '../../backend/tensor.ts';
import { checkWeightDType } from '../../backend/weight.ts';
import { rmsNorm } from '../../ops/rms-norm.ts';
import { type Block, type BlockSpec, loadBlock } from './block.ts';
import type { Hooks, Run } from './hooks.ts';
import { KvCache } from './kv-cache.ts';
import { KV_ROOM_FIELDS, type KvCacheConfig } from './kv-config.ts';
import { Loader, type LoaderOptions, PACKING, TENSOR_SOURCE, type TensorSource } from './loader.ts';
import { type LayerRows, Pass, type PassOptions, rowsOfOrders } from './pass.ts';
import { checkRows, MATRIX, range, type Rows, STREAM, type Stream, takeRows } from './rows.ts';
import { WORK, Work } from './work.ts';

export interface DecoderSpec {
  blocks: readonly BlockSpec[];
  width: number;
  /** The RMSNorm behind the last block; its name without `.weight`. */
  norm: { name: string; eps: number };
}

export interface PrefillOptions extends SignalOption, Pick<PassOptions, 'chunkSize' | 'onLayer'> {
  cache: KvCache;
  run?: Pick<Run, 'decoder' | 'evict'> | undefined;
  /** Rows whose final hidden state is wanted, ascending. Default: the last row. */
  outputRows?: Uint32Array;
  /** What the work is counted with. Default: work of its own. */
  work?: Work;
}

export interface Prefilled {
  /** Hidden states of `outputRows` [n, D] after the final norm; the caller frees them. */
  hidden: Tensor<'f32'>;
  /** What every block did. */
  layers: readonly LayerRows[];
}

export interface DecodeOptions extends SignalOption {
  hooks?: Hooks | undefined;
  work?: Work;
}

const CACHE = field.instance(KvCache);
const HOOKS = field.optional(field.anything<Hooks>('hooks of a method', (value) => typeof value === 'object' && value !== null));
const SPEC = field.anything<DecoderSpec>('a DecoderSpec, e.g. of llamaDecoder', (value) => {
  const { blocks, norm } = (value ?? {}) as Partial<DecoderSpec>;
  return Array.isArray(blocks) && typeof norm?.name === 'string';
});
export const DECODER_FIELDS = {
  load: {
    backend: BACKEND,
    source: TENSOR_SOURCE,
    spec: SPEC,
    prefix: field.text,
    options: field.optional(field.record<LoaderOptions>(PACKING)),
  },
  makeCache: { config: field.record(KV_ROOM_FIELDS) },
  prefill: {
    stream: STREAM,
    options: field.record<PrefillOptions>({
      ...SIGNAL_OPTION,
      cache: CACHE,
      run: HOOKS as field.Field<Pick<Run, 'decoder' | 'evict'>, true>,
      outputRows: field.optional(field.instance<Uint32Array>(Uint32Array)),
      work: field.optional(WORK),
      chunkSize: field.optional(field.integer({ min: 1 })),
      onLayer: field.optional(field.callback()),
    }),
  },
  decode: {
    x: MATRIX,
    cache: CACHE,
    options: field.optional(field.record<DecodeOptions>({ ...SIGNAL_OPTION, hooks: HOOKS, work: field.optional(WORK) })),
  },
};

/** The language model: causal blocks over a cache, and a norm. */
export class Decoder implements Disposable {
  readonly backend: Backend;
  readonly spec: DecoderSpec;
  readonly #held: Disposable;
  readonly #blocks: readonly Block[];
  readonly #norm: Tensor<'f32'>;

  private constructor(backend: Backend, spec: DecoderSpec, held: Disposable, blocks: readonly Block[], norm: Tensor<'f32'>) {
    this.backend = backend;
    this.spec = spec;
    this.#held = held;
    this.#blocks = blocks;
    this.#norm = norm;
  }

  /** Packs the blocks and the norm. Names are those of the source without `prefix`. */
  static async load(
    backend: Backend,
    source: TensorSource,
    spec: DecoderSpec,
    prefix: string,
    options: LoaderOptions = {},
  ): Promise<Decoder> {
    field.checkFields('Decoder.load', { backend, source, spec, prefix, options }, DECODER_FIELDS.load);
    checkWeightDType(backend, 'Decoder.load', options.dtype ?? 'f32');
    using loader = new Loader(backend, source, options, prefix);
    const blocks: Block[] = [];
    for (const block of spec.blocks) blocks.push(await loadBlock(loader, block));
    const norm = loader.vector(`${spec.norm.name}.weight`, [spec.width]);
    return new Decoder(backend, spec, loader.move(), blocks, norm);
  }

  /** An empty cache of this decoder's shape. */
  makeCache(config: Pick<KvCacheConfig, 'capacity' | 'room' | 'dtype'>): KvCache {
    field.checkFields('makeCache', { config }, DECODER_FIELDS.makeCache);
    return new KvCache(this.backend, { ...config, layers: this.spec.blocks.map(({ kvHeads, headDim }) => ({ kvHeads, headDim })) });
  }

  /**
   * Runs a prompt through all blocks, one block after the other, and fills the cache. Takes the stream over, unless it refuses its
   * arguments: its x is changed and freed.
   * In chunks the results are the same, as a block sees all rows before the next one begins.
   *
   * Rows that a method evicts never enter an empty cache: a block attends over its fresh keys and stores the kept ones, so the
   * full-length keys and values of one block only are ever alive.
   *
   * An error or an abort, here as in `decode`, leaves the cache with the rows it had.
   */
  async prefill(stream: Stream, options: PrefillOptions): Promise<Prefilled> {
    field.checkFields('prefill', { stream, options }, DECODER_FIELDS.prefill);
    const { cache, run, signal, work = new Work(this.backend, signal), chunkSize, onLayer } = options;
    const { order } = stream.rows;
    const outputRows = options.outputRows ?? range(Math.max(0, order.length - 1), order.length);
    this.#check('prefill', stream.x, cache);
    checkRows('prefill', 'outputRows', outputRows, order.length);
    if (order.length > 0 && order[0]! < cache.nextOrder)
      throw invalidArgument('prefill', 'order', `${order[0]}`, `at least ${cache.nextOrder}, the next of the cache`);
    const wanted = outputRows.map((row) => order[row]!);
    const evict = run?.evict?.bind(run);
    return this.#run(work, stream, { cache, hooks: run?.decoder, evict, chunkSize, onLayer, wanted }, signal);
  }

  /** Runs rows x [n, D], which stay the caller's, at the next n places. Returns their hidden states [n, D] after the final norm. */
  async decode(x: Tensor<'f32'>, cache: KvCache, options: DecodeOptions = {}): Promise<Tensor<'f32'>> {
    field.checkFields('decode', { x, cache, options }, DECODER_FIELDS.decode);
    const { signal, work = new Work(this.backend, signal), hooks } = options;
    this.#check('decode', x, cache);
    const count = x.shape[0]!;
    const following = (next: number) => range(next, next + count);
    const order = following(cache.nextOrder);
    const rows: Rows = { order, angles: [following(cache.nextAngle)], segments: [{ kind: 'text', start: 0, end: count }] };
    const stream = { x: takeRows(work, x, range(0, count)), rows };
    const asked = hooks?.phase === 'always' ? hooks : undefined;
    const { hidden } = await this.#run(work, stream, { cache, hooks: asked, wanted: order }, signal);
    return hidden;
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }

  /** The stream, which it takes over, through all blocks. When it throws, the cache has the rows it had. */
  async #run(
    work: Work,
    stream: Stream,
    options: PassOptions & { cache: KvCache; wanted: Uint32Array },
    signal: AbortSignal | undefined,
  ): Promise<Prefilled> {
    const { cache, wanted } = options;
    const { order, angles } = stream.rows;
    const mark = cache.mark();
    using pass = new Pass(work, stream, options);
    try {
      await pass.run(this.#blocks);
      await cache.settle({ signal });
      const hidden = this.#finish(work, pass.stream, wanted);
      cache.advance(order, angles?.[0]);
      return { hidden, layers: pass.layers };
    } catch (error) {
      cache.rewind(mark);
      throw error;
    }
  }

  #check(op: string, x: Tensor<'f32'>, cache: KvCache): void {
    const { width, blocks } = this.spec;
    if (x.shape[1] !== width) throw invalidArgument(op, 'x', `[${x.shape}]`, `[n, ${width}]`);
    if (cache.layers !== blocks.length)
      throw invalidArgument(op, 'cache', `of ${cache.layers} layers`, `${blocks.length}, as makeCache gives it`);
  }

  /** The final norm of the rows of the listed orders. */
  #finish(work: Work, { x, rows }: Stream, orders: Uint32Array): Tensor<'f32'> {
    const { eps } = this.spec.norm;
    using picked = orders.length < x.shape[0]! ? takeRows(work, x, rowsOfOrders(rows, orders)) : undefined;
    return work.produce([orders.length, x.shape[1]!], (y) => work.run(rmsNorm, { x: picked ?? x, weight: this.#norm, y }, { eps }));
  }
}
