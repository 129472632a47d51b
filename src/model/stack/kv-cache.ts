import type { Backend, SignalOption } from '../../backend/backend.ts';
import { invalidArgument, show, SkipVisionError } from '../../backend/errors.ts';
import { checkFields } from '../../backend/fields.ts';
import type { FloatDType, Tensor } from '../../backend/tensor.ts';
import { appendKv } from '../../ops/append-kv.ts';
import { lowerBound } from '../../ops/attention.ts';
import { compactKv } from '../../ops/compact-kv.ts';
import { type CacheMark, KV_CACHE_FIELDS, type KvCacheConfig, shapesOf } from './kv-config.ts';
import { KvLayer as Layer, rowsOutside } from './kv-layer.ts';
import { checkAscending, checkRows, range } from './rows.ts';
import { Scope } from './work.ts';

/**
 * Rotated keys and values of every layer, keyed by the place of their row in the causal sequence (its order). Nothing is allocated per
 * step. Keys keep the rotation with which they entered, whatever row they move to. Layers may hold different rows; `nextOrder` counts
 * the places used so far by all of them and does not shrink on eviction.
 */
export class KvCache implements Disposable {
  readonly backend: Backend;
  readonly dtype: FloatDType;
  readonly #room: number | undefined;
  readonly #layers: Layer[];
  /** Place of the next row to enter, and its angle: rows may be turned by others than their places. */
  nextOrder = 0;
  nextAngle = 0;

  constructor(backend: Backend, config: KvCacheConfig) {
    checkFields('KvCache', { backend, config }, KV_CACHE_FIELDS.create);
    const shapes = shapesOf(config);
    const { capacity, room, dtype = 'f32' } = config;
    if ((capacity === undefined) === (room === undefined))
      throw invalidArgument('KvCache', 'capacity', room === undefined ? 'absent' : 'given with room', 'either capacity or room');
    for (const { headDim } of shapes)
      if (dtype === 'f16' && headDim % 2 === 1) throw invalidArgument('KvCache', 'headDim', `${headDim}`, 'even for f16');
    this.backend = backend;
    this.dtype = dtype;
    this.#room = room;
    using made = new Scope();
    this.#layers = shapes.map((shape) => made.keep(new Layer(backend, shape, capacity ?? 0, dtype)));
    made.move();
  }

  get layers(): number {
    return this.#layers.length;
  }

  /** Rows held in a layer. */
  length(layer: number): number {
    return this.#layer(layer).length;
  }

  capacity(layer: number): number {
    return this.#layer(layer).capacity;
  }

  /** Places of a layer's rows in the causal sequence, ascending [length]. Rows that were chosen on the device: after `settle`. */
  order(layer: number): Uint32Array {
    const held = this.#layer(layer);
    if (held.unread.length > 0)
      throw new SkipVisionError('unsupported', `KvCache: the order of layer ${layer} is on the device; await settle() first`);
    return held.order.subarray(0, held.length);
  }

  /** Keys of a layer [capacity, Hkv, dh]; the first `length` rows count. */
  keys(layer: number): Tensor<FloatDType> {
    const { k, capacity, kvHeads, headDim } = this.#layer(layer);
    return k.view([capacity, kvHeads, headDim]);
  }

  values(layer: number): Tensor<FloatDType> {
    const { v, capacity, kvHeads, headDim } = this.#layer(layer);
    return v.view([capacity, kvHeads, headDim]);
  }

  /** Bytes of the rows held, keys and values. */
  get bytes(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.bytes(layer.length), 0);
  }

  layerBytes(layer: number): number {
    return this.#layer(layer).bytes(this.length(layer));
  }

  /** Bytes allocated, free rows included. */
  get capacityBytes(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.bytes(layer.capacity), 0);
  }

  /**
   * Writes rotated keys and values [n, Hkv * dh] behind the rows of a layer. `rows` picks the ones that enter (ascending, default all).
   * When it throws, the layer keeps the rows it had.
   */
  append(layer: number, k: Tensor<'f32'>, v: Tensor<'f32'>, order: Uint32Array | Tensor<'u32'>, rows?: Uint32Array): void {
    checkFields('KvCache.append', { layer, k, v, order, rows }, KV_CACHE_FIELDS.append);
    const { width } = this.#layer(layer);
    const n = order instanceof Uint32Array ? order.length : order.size;
    for (const [argument, { size }] of Object.entries({ k, v })) {
      if (size !== n * width) throw invalidArgument('KvCache.append', argument, `${size} elements`, `${n * width}, ${width} for each row`);
    }
    if (rows && !(order instanceof Uint32Array))
      throw invalidArgument('KvCache.append', 'rows', 'given', 'absent with an order on the device');
    if (rows) checkRows('KvCache.append', 'rows', rows, n);
    const [kNew, vNew] = [k.view([1, n, width]), v.view([1, n, width])];
    const at = this.extend(layer, rows ? Uint32Array.from(rows, (row) => (order as Uint32Array)[row]!) : order);
    const held = this.#layer(layer);
    try {
      if (rows) this.#writePart(held, kNew, vNew, rows, at);
      else this.backend.run(appendKv, { kNew, vNew, k: held.k, v: held.v }, { at });
    } catch (error) {
      held.cut(at);
      throw error;
    }
  }

  /**
   * Makes rows enter a layer behind those held; returns the row of the first. The caller writes their keys and values there, or goes back
   * to a `mark`. `order` must ascend beyond those held; one on the device becomes the cache's. @internal
   */
  extend(layer: number, order: Uint32Array | Tensor<'u32'>): number {
    checkFields('KvCache.extend', { layer, order }, KV_CACHE_FIELDS.extend);
    const isKnown = order instanceof Uint32Array;
    const count = isKnown ? order.length : order.size;
    const { length: at, order: known, unread } = this.#layer(layer);
    try {
      // Rows on the device come from a stream whose first order was beyond those held.
      if (isKnown) checkAscending('KvCache.extend', 'order', order, unread.length > 0 ? -1 : known[at - 1]);
      const held = this.#withRoom(layer, count);
      if (isKnown) held.order.set(order, at);
      else held.unread.push({ at, order });
      held.length = at + count;
      return at;
    } catch (error) {
      if (!isKnown) order.dispose();
      throw error;
    }
  }

  /** Reads back what is known of the rows on the device only. */
  async settle(options: SignalOption = {}): Promise<void> {
    checkFields('KvCache.settle', { options }, KV_CACHE_FIELDS.settle);
    const { signal } = options;
    for (const held of this.#layers) {
      for (const { at, order } of held.unread) held.order.set(await this.backend.read(order, { signal }), at);
      for (const { order } of held.unread.splice(0)) order.dispose();
    }
  }

  /**
   * Keeps the listed rows of a layer (strictly ascending, below `length`), drops the others. The room of the dropped rows
   * is reused by later rows; with `capacity` the layer moves to an allocation of that many rows and the old one is freed.
   */
  compact(layer: number, keep: Uint32Array, options: { capacity?: number } = {}): void {
    checkFields('KvCache.compact', { layer, keep, options }, KV_CACHE_FIELDS.compact);
    const held = this.#layer(layer);
    const order = this.order(layer);
    checkRows('KvCache.compact', 'keep', keep, held.length);
    const { capacity = held.capacity } = options;
    checkCapacity('KvCache.compact', capacity, keep.length);
    if (capacity !== held.capacity) {
      this.#replace(layer, this.#copy(held, keep, capacity));
      return;
    }
    if (keep.length === held.length) return;
    using list = this.backend.upload(keep);
    this.backend.run(compactKv, { k: held.k, v: held.v, keep: list }, {});
    keep.forEach((row, to) => {
      order[to] = order[row]!; // row >= to
    });
    held.length = keep.length;
  }

  /** Drops every row whose order lies in one of the half-open ranges, in all layers. */
  evict(ranges: readonly (readonly [start: number, end: number])[], options: { capacity?: number } = {}): void {
    checkFields('KvCache.evict', { ranges, options }, KV_CACHE_FIELDS.evict);
    const keeps = this.#orders().map((order) => rowsOutside(order, ranges));
    const most = Math.max(0, ...keeps.map(({ length }) => length));
    checkCapacity('KvCache.evict', options.capacity ?? most, most);
    for (const [layer, keep] of keeps.entries()) this.compact(layer, keep, options);
  }

  /** Forgets all rows of order `order` and later; the next row enters there. */
  trim(order: number): void {
    checkFields('KvCache.trim', { order }, KV_CACHE_FIELDS.trim);
    const lengths = this.#orders().map((each) => lowerBound(each, order));
    const back = Math.max(0, this.nextOrder - order);
    this.rewind({ lengths, nextOrder: this.nextOrder - back, nextAngle: Math.max(0, this.nextAngle - back) });
  }

  /** What `rewind` goes back to as long as no row held now has left: the lengths. */
  mark(): CacheMark {
    const { nextOrder, nextAngle } = this;
    return { lengths: this.#layers.map(({ length }) => length), nextOrder, nextAngle };
  }

  rewind(mark: CacheMark): void {
    checkFields('KvCache.rewind', { mark }, KV_CACHE_FIELDS.rewind);
    const { lengths, nextOrder, nextAngle } = mark;
    if (lengths.length !== this.layers)
      throw invalidArgument('KvCache.rewind', 'lengths', `${lengths.length} lengths`, `${this.layers}, one for each layer`);
    for (const [layer, held] of this.#layers.entries()) held.cut(lengths[layer]!);
    this.nextOrder = nextOrder;
    this.nextAngle = nextAngle;
  }

  /** The next row follows these, which have entered. Angles by default as the order. @internal */
  advance(order: Uint32Array, angles = order): void {
    checkFields('KvCache.advance', { order, angles }, KV_CACHE_FIELDS.advance);
    if (order.length === 0) return;
    this.nextOrder = order.at(-1)! + 1;
    this.nextAngle = angles.reduce((most, angle) => Math.max(most, angle)) + 1;
  }

  /** A copy of the rows held, to come back to: one image, many questions. */
  snapshot(): KvSnapshot {
    this.#orders();
    using made = new Scope();
    const layers = this.#layers.map((held) => made.keep(this.#copy(held, range(0, held.length), held.length)));
    made.move();
    return new KvSnapshot(this, layers, this.nextOrder, this.nextAngle);
  }

  /** Puts back the rows of a snapshot of this cache, in the room there is. The snapshot stays usable. */
  restore(snapshot: KvSnapshot): void {
    if (snapshot?.cache !== this) throw invalidArgument('KvCache.restore', 'snapshot', 'none of this cache', 'a snapshot of this cache');
    if (snapshot.disposed)
      throw new SkipVisionError('disposed', 'KvCache.restore: the snapshot was disposed', { op: 'restore', argument: 'snapshot' });
    for (const [layer, saved] of snapshot.layers.entries()) {
      if (saved.length > this.capacity(layer)) this.#replace(layer, new Layer(this.backend, saved, saved.length, this.dtype));
      this.#copyInto(this.#layer(layer), saved, range(0, saved.length));
    }
    this.nextOrder = snapshot.nextOrder;
    this.nextAngle = snapshot.nextAngle;
  }

  [Symbol.dispose](): void {
    for (const layer of this.#layers) layer[Symbol.dispose]();
  }

  /** Of all layers; throws before anything is changed where one is on the device. */
  #orders(): Uint32Array[] {
    return this.#layers.map((_, layer) => this.order(layer));
  }

  #layer(index: number): Layer {
    const layer = typeof index === 'number' ? this.#layers[index] : undefined;
    if (!layer) throw invalidArgument('KvCache', 'layer', show(index), `a layer below ${this.#layers.length}`);
    return layer;
  }

  #replace(layer: number, by: Layer): Layer {
    this.#layers[layer]![Symbol.dispose]();
    this.#layers[layer] = by;
    return by;
  }

  /** A layer with room for `count` more rows. */
  #withRoom(layer: number, count: number): Layer {
    const held = this.#layer(layer);
    const { length, capacity } = held;
    if (length + count <= capacity) return held;
    if (this.#room !== undefined) {
      const larger = this.#copy(held, range(0, length), length + count + this.#room);
      larger.unread = held.unread.splice(0);
      return this.#replace(layer, larger);
    }
    throw new SkipVisionError('cache-full', `KvCache: layer ${layer} holds ${length} of ${capacity} rows, no room for ${count} more`, {
      op: 'append',
      argument: 'k',
      got: `${count} rows`,
      expected: `at most ${capacity - length} rows`,
    });
  }

  /** Writes the listed ones of fresh rows [1, n, W]; into an empty layer of f32 at once. */
  #writePart(held: Layer, kNew: Tensor<'f32'>, vNew: Tensor<'f32'>, rows: Uint32Array, at: number): void {
    const { backend } = this;
    using keep = backend.upload(rows);
    if (this.dtype === 'f32' && at === 0) {
      backend.run(compactKv, { k: kNew, v: vNew, keep, kOut: held.k, vOut: held.v }, {});
      return;
    }
    const desc = { dtype: 'f32', shape: [1, rows.length, held.width] } as const;
    using kKept = backend.empty(desc);
    using vKept = backend.empty(desc);
    backend.run(compactKv, { k: kNew, v: vNew, keep, kOut: kKept, vOut: vKept }, {});
    backend.run(appendKv, { kNew: kKept, vNew: vKept, k: held.k, v: held.v }, { at });
  }

  /** The listed rows of a layer in an allocation of their own. */
  #copy(from: Layer, rows: Uint32Array, capacity: number): Layer {
    using made = new Scope();
    const copy = made.keep(new Layer(this.backend, from, capacity, this.dtype));
    this.#copyInto(copy, from, rows);
    made.move();
    return copy;
  }

  #copyInto(to: Layer, from: Layer, rows: Uint32Array): void {
    using keep = this.backend.upload(rows);
    this.backend.run(compactKv, { k: from.k, v: from.v, keep, kOut: to.k, vOut: to.v }, {});
    rows.forEach((row, i) => {
      to.order[i] = from.order[row]!;
    });
    to.cut(0);
    to.length = rows.length;
  }
}

/** A copy of a cache's rows; holds memory of its own until disposed. */
export class KvSnapshot implements Disposable {
  readonly cache: KvCache;
  /** @internal */
  readonly layers: readonly Layer[];
  readonly nextOrder: number;
  readonly nextAngle: number;
  disposed = false;

  /** Use `KvCache.snapshot`. @internal */
  constructor(cache: KvCache, layers: readonly Layer[], nextOrder: number, nextAngle: number) {
    this.cache = cache;
    this.layers = layers;
    this.nextOrder = nextOrder;
    this.nextAngle = nextAngle;
  }

  [Symbol.dispose](): void {
    this.disposed = true;
    for (const layer of this.layers) layer[Symbol.dispose]();
  }
}

function checkCapacity(op: string, capacity: number, kept: number): void {
  if (capacity < kept) throw invalidArgument(op, 'capacity', `${capacity}`, `at least the ${kept} kept rows`);
}
