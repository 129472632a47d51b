import { invalidArgument } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { Tensor } from '../../backend/tensor.ts';
import { copyRows } from '../../ops/copy-rows.ts';
import { gatherPositions } from '../../ops/gather-positions.ts';
import { scatterRows } from '../../ops/scatter-rows.ts';
import { attendRows } from './attend.ts';
import type { Block } from './block.ts';
import { runFfn } from './ffn.ts';
import { type Hooks, type Plan, PLAN_FIELDS, type RowList, type Run } from './hooks.ts';
import type { KvCache } from './kv-cache.ts';
import { Ranks } from './ranks.ts';
import { pickRotation, Rotations } from './rotation.ts';
import { checkRows, pickRows, type Rows, STREAM, type Stream } from './rows.ts';
import type { Work } from './work.ts';

export interface PassOptions {
  /** Keys and values go there, and those held are seen. Without: the rows see each other only. */
  cache?: KvCache;
  hooks?: Hooks | undefined;
  evict?: Run['evict'];
  /** Rows of an op at a time; the thread is given back in between. Default all. */
  chunkSize?: number | undefined;
  /** Orders of the rows whose result matters, ascending: the last block computes no others. Default all. */
  wanted?: Uint32Array;
  /** Sees the stream after every block. Do not keep its tensor. */
  onLayer?(layer: number, x: Tensor<'f32'>): void | Promise<void>;
}

/** What one block did: rows that attended, that ran the FFN, and that its cache holds afterwards. */
export interface LayerRows {
  attended: number;
  ffn: number;
  cached: number;
}

/** Rows on their way through the blocks of a stack. Owns its stream, whose x is worked on in place. */
export class Pass implements Disposable {
  readonly work: Work;
  readonly layers: LayerRows[] = [];
  readonly #options: PassOptions;
  readonly #rotations: Rotations;
  readonly #ranks: Ranks;
  stream: Stream;
  #released = false;

  constructor(work: Work, stream: Stream, options: PassOptions) {
    this.work = work;
    this.stream = stream;
    this.#options = options;
    this.#rotations = new Rotations(work);
    this.#ranks = new Ranks(work.backend);
  }

  async run(blocks: readonly Block[]): Promise<void> {
    const { cache, hooks, wanted, onLayer } = this.#options;
    for (const [layer, block] of blocks.entries()) {
      const isLast = layer === blocks.length - 1;
      const plan = (await hooks?.plan?.(layer, this.stream)) ?? {};
      checkPlan(plan);
      const last = isLast ? wanted : undefined;
      if (plan.rows) await this.#runPart(layer, block, plan, plan.rows, last ? undefined : hooks);
      else await this.#runAll(layer, block, plan, last);
      this.layers[layer]!.cached = cache?.length(layer) ?? 0;
      await onLayer?.(layer, this.stream.x);
      await this.work.rest(this.stream.rows.order.length);
    }
  }

  /** Hands x over to the caller, who frees it. */
  release(): Stream {
    this.#released = true;
    return this.stream;
  }

  [Symbol.dispose](): void {
    this.#rotations[Symbol.dispose]();
    this.#ranks[Symbol.dispose]();
    if (!this.#released) this.stream.x.dispose();
  }

  #common() {
    const { cache, chunkSize } = this.#options;
    return { cache, chunkSize, ranks: this.#ranks };
  }

  #evicted(layer: number, rows: Rows): Uint32Array | undefined {
    const evicted = this.#options.evict?.(layer, rows);
    if (evicted) checkRows('evict', 'rows', evicted, rows.order.length);
    return evicted;
  }

  /** All rows attend; with `wanted` only those give a result. */
  async #runAll(layer: number, block: Block, plan: Plan, wanted: Uint32Array | undefined): Promise<void> {
    const { hooks, chunkSize } = this.#options;
    const { rows } = this.stream;
    const n = rows.order.length;
    const queries = wanted && wanted.length < n ? rowsOfOrders(rows, wanted) : undefined;
    using seen = await attendRows(this.work, block, {
      ...this.#common(),
      layer,
      x: this.stream.x,
      order: rows.order,
      rotation: this.#rotations.of(block.spec, rows),
      queries,
      plan,
      evicted: this.#evicted(layer, rows),
    });
    // Nothing reads what a hook would change after the last block of which rows are wanted.
    const asks = wanted === undefined ? hooks : undefined;
    if (asks?.between) this.#replace(await asks.between(layer, this.stream, seen));
    if (plan.ffnRows && this.stream.rows !== rows)
      throw invalidArgument('between', 'rows', 'others', 'the same, as the plan lists ffnRows');
    const ffn = await runFfn(this.work, block, this.stream.x, plan.ffnRows, queries, chunkSize);
    this.layers.push({ attended: n, ffn, cached: 0 });
    if (asks?.after) this.#replace(await asks.after(layer, this.stream, seen));
    seen.settle();
  }

  /** The listed rows run the block by themselves; the others are not touched. */
  async #runPart(layer: number, block: Block, plan: Plan, list: RowList, hooks: Hooks | undefined): Promise<void> {
    const { work } = this;
    const { backend } = work;
    const { x, rows } = this.stream;
    using uploaded = list instanceof Tensor ? undefined : backend.upload(list);
    const chosen = uploaded ?? (list as Tensor<'u32'>);
    using part = work.produce([chosen.size, x.shape[1]!], (y) => work.run(copyRows, { x, rows: chosen, y }, {}));
    const whole = this.#rotations.of(block.spec, rows);
    using rotation = whole && pickRotation(work, whole, chosen);
    using seen = await attendRows(work, block, {
      ...this.#common(),
      layer,
      x: part,
      order: list instanceof Tensor ? () => orderOnDevice(work, rows.order, chosen) : Uint32Array.from(list, (row) => rows.order[row]!),
      rotation,
      plan,
      evicted: list instanceof Tensor ? undefined : this.#evicted(layer, pickRows(rows, list)),
    });
    this.layers.push({ attended: chosen.size, ffn: chosen.size, cached: 0 });
    await runFfn(work, block, part, undefined, undefined, this.#options.chunkSize);
    work.run(scatterRows, { x, rows: chosen, y: part, gate: plan.gate }, {});
    if (hooks?.after) this.#replace(await hooks.after(layer, this.stream, seen));
    seen.settle();
  }

  /** Takes what a hook returned: a stream that takes the place of the one it was given. */
  #replace(by: Stream | undefined): void {
    if (!by) return;
    field.checkFields('hooks', { stream: by }, { stream: STREAM });
    if (by.x !== this.stream.x) this.stream.x.dispose();
    this.stream = by;
  }
}

function checkPlan(plan: Plan): void {
  field.checkFields('plan', plan, PLAN_FIELDS, 'plan');
  const { rows, gate, ffnRows, hiddenKeys } = plan;
  if (gate && !rows) throw invalidArgument('plan', 'gate', 'given', 'absent without rows');
  if (ffnRows && rows) throw invalidArgument('plan', 'ffnRows', 'given', 'absent with rows');
  if (hiddenKeys && rows instanceof Tensor) throw invalidArgument('plan', 'hiddenKeys', 'given', 'absent with rows on the device');
}

function orderOnDevice(work: Work, order: Uint32Array, rows: Tensor<'u32'>): Tensor<'u32'> {
  using list = work.backend.upload(order);
  return work.produce([rows.size], (y) => work.run(gatherPositions, { list, rows, y }, {}), 'u32');
}

/** Rows of the listed orders, both ascending. */
export function rowsOfOrders({ order }: Rows, orders: Uint32Array): Uint32Array {
  const rowOf = new Map(Array.from(order, (each, row) => [each, row]));
  return Uint32Array.from(orders, (each) => {
    const row = rowOf.get(each);
    if (row === undefined)
      throw invalidArgument('prefill', 'outputRows', `a row of order ${each} that has left the stream`, 'rows that stay to the end');
    return row;
  });
}
