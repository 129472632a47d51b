import type { Backend } from '../../backend/backend.ts';
import { invalidArgument, SkipVisionError } from '../../backend/errors.ts';
import { bytesOf, type FloatDType, type Tensor } from '../../backend/tensor.ts';
import { appendKv } from '../../ops/append-kv.ts';
import { compactKv } from '../../ops/compact-kv.ts';
import { range } from './sequence.ts';

export interface KvCacheConfig {
  layers: number;
  kvHeads: number;
  headDim: number;
  /** Rows every layer has room for. */
  capacity: number;
  /** What keys and values are stored as; default 'f32'. 'f16' rounds them to nearest even and takes even head dims. */
  dtype?: FloatDType;
}

/** Keys and values of one layer [1, capacity, Hkv * dh]. Row i stands at position positions[i]; rows and positions part company on eviction. */
export interface Layer {
  k: Tensor<FloatDType>;
  v: Tensor<FloatDType>;
  positions: Uint32Array;
  capacity: number;
}

/**
 * Rotated keys and values of every layer, with room for a fixed number of rows, so that nothing is allocated per step.
 * Keys keep the rotation of the position at which they entered, whatever row they move to. `nextPosition` counts the
 * positions used so far and does not shrink on eviction.
 */
export class KvCache implements Disposable {
  readonly backend: Backend;
  readonly dtype: FloatDType;
  readonly #width: number;
  readonly #shape: readonly [kvHeads: number, headDim: number];
  #layers: Layer[];
  #positionTensor: Tensor<'u32'> | undefined;
  /** Position of the next row to enter. */
  nextPosition = 0;

  constructor(backend: Backend, config: KvCacheConfig) {
    this.backend = backend;
    this.dtype = config.dtype ?? 'f32';
    if (this.dtype === 'f16' && config.headDim % 2 === 1) throw invalidArgument('KvCache', 'headDim', `${config.headDim}`, 'even for f16');
    this.#shape = [config.kvHeads, config.headDim];
    this.#width = config.kvHeads * config.headDim;
    this.#layers = [];
    try {
      for (let i = 0; i < config.layers; i++) this.#layers.push(this.#makeLayer(config.capacity));
    } catch (error) {
      this.#layers.forEach(freeLayer);
      throw error;
    }
  }

  get layers(): number {
    return this.#layers.length;
  }

  /** Rows held in a layer. */
  length(layer: number): number {
    return this.#layer(layer).positions.length;
  }

  capacity(layer: number): number {
    return this.#layer(layer).capacity;
  }

  /** Positions of a layer's rows, ascending. [length] */
  positions(layer: number): Uint32Array {
    return this.#layer(layer).positions;
  }

  /** Keys of a layer [capacity, Hkv, dh]; the first `length` rows count. */
  keys(layer: number): Tensor<FloatDType> {
    return this.#layer(layer).k.view([this.capacity(layer), ...this.#shape]);
  }

  values(layer: number): Tensor<FloatDType> {
    return this.#layer(layer).v.view([this.capacity(layer), ...this.#shape]);
  }

  /** The layer's positions on the backend, valid until the cache changes. Layers with equal positions share it. */
  positionTensor(layer: number): Tensor<'u32'> {
    const { positions } = this.#layer(layer);
    const host = this.#positionTensor?.storage.host;
    if (!host || host.length !== positions.length || !host.every((position, row) => position === positions[row])) {
      this.#positionTensor?.dispose();
      this.#positionTensor = this.backend.upload(positions);
    }
    return this.#positionTensor!;
  }

  /** Bytes of the rows held, keys and values. */
  get bytes(): number {
    return this.#layers.reduce((sum, layer) => sum + this.#rowBytes(layer.positions.length), 0);
  }

  layerBytes(layer: number): number {
    return this.#rowBytes(this.length(layer));
  }

  /** Bytes allocated, free rows included. */
  get capacityBytes(): number {
    return this.#layers.reduce((sum, layer) => sum + this.#rowBytes(layer.capacity), 0);
  }

  /**
   * Writes rotated keys and values [n, Hkv * dh] behind the rows of a layer. `rows` picks the ones that enter (default
   * all); only an empty layer takes a part. Positions must ascend beyond those held.
   */
  append(layer: number, k: Tensor<'f32'>, v: Tensor<'f32'>, positions: Uint32Array, rows?: Uint32Array): void {
    const held = this.#layer(layer);
    for (const [argument, rowsGiven] of [
      ['k', k],
      ['v', v],
    ] as const) {
      const expected = positions.length * this.#width;
      if (rowsGiven.size !== expected)
        throw invalidArgument('KvCache.append', argument, `${rowsGiven.size} elements`, `${expected}, ${this.#width} for each position`);
    }
    const [n, W] = [positions.length, this.#width];
    const [kNew, vNew] = [k.view([1, n, W]), v.view([1, n, W])];
    this.extend(layer, rows ? Uint32Array.from(rows, (row) => positions[row]!) : positions, (at) => {
      if (!rows) {
        this.backend.run(appendKv, { kNew, vNew, k: held.k, v: held.v }, { at });
        return;
      }
      if (at > 0)
        throw invalidArgument('KvCache.append', 'rows', `a part of the rows for layer ${layer} with ${at} rows`, 'an empty layer');
      this.#appendPart(held, kNew, vNew, rows);
    });
  }

  /**
   * Makes rows at `positions` enter a layer behind those held: `write` puts their keys and values into the rows from `at` on of
   * `keys` and `values`. When it throws, the layer keeps the rows it had.
   */
  extend(layer: number, positions: Uint32Array, write: (at: number) => void): void {
    const held = this.#layer(layer);
    const at = held.positions.length;
    const count = positions.length;
    if (at + count > held.capacity) {
      throw new SkipVisionError('cache-full', `KvCache: layer ${layer} holds ${at} of ${held.capacity} rows, no room for ${count} more`, {
        op: 'append',
        argument: 'k',
        got: `${count} rows`,
        expected: `at most ${held.capacity - at} rows`,
      });
    }
    checkAscending('KvCache.append', 'positions', positions, held.positions.at(-1));
    write(at);
    held.positions = concat(held.positions, positions);
  }

  /**
   * Keeps the listed rows of a layer (strictly ascending, below `length`), drops the others. The room of the dropped rows
   * is reused by later rows; with `capacity` the layer moves to an allocation of that many rows and the old one is freed.
   */
  compact(layer: number, keep: Uint32Array, options: { capacity?: number } = {}): void {
    const held = this.#layer(layer);
    checkAscending('KvCache.compact', 'keep', keep);
    const last = keep.at(-1);
    if (last !== undefined && last >= held.positions.length) {
      throw invalidArgument('KvCache.compact', 'keep', `row ${last}`, `rows below ${held.positions.length}`);
    }
    const { capacity = held.capacity } = options;
    if (capacity < keep.length)
      throw invalidArgument('KvCache.compact', 'capacity', `${capacity}`, `at least the ${keep.length} kept rows`);
    if (capacity === held.capacity) {
      if (keep.length === held.positions.length) return;
      using keepTensor = this.backend.upload(keep);
      this.backend.run(compactKv, { k: held.k, v: held.v, keep: keepTensor }, {});
      held.positions = Uint32Array.from(keep, (row) => held.positions[row]!);
      return;
    }
    this.#layers[layer] = this.#copyRows(held, keep, capacity);
    freeLayer(held);
  }

  /** Drops every row at a position in one of the half-open ranges, in all layers. */
  evict(ranges: readonly (readonly [start: number, end: number])[], options: { capacity?: number } = {}): void {
    for (let layer = 0; layer < this.layers; layer++) this.compact(layer, rowsOutside(this.positions(layer), ranges), options);
  }

  /** Forgets all rows at `position` and later; the next row enters there. */
  trim(position: number): void {
    if (!Number.isInteger(position) || position < 0)
      throw invalidArgument('KvCache.trim', 'position', String(position), 'a non-negative integer');
    for (const layer of this.#layers) layer.positions = layer.positions.filter((held) => held < position);
    this.nextPosition = Math.min(this.nextPosition, position);
  }

  /** A copy of the rows held, to come back to: one image, many questions. */
  snapshot(): KvSnapshot {
    const layers: Layer[] = [];
    try {
      for (const layer of this.#layers) layers.push(this.#copyRows(layer, range(0, layer.positions.length), layer.positions.length));
    } catch (error) {
      layers.forEach(freeLayer);
      throw error;
    }
    return new KvSnapshot(this, layers, this.nextPosition);
  }

  /** Puts back the rows of a snapshot of this cache, in the room there is. The snapshot stays usable. */
  restore(snapshot: KvSnapshot): void {
    if (snapshot.cache !== this) throw invalidArgument('KvCache.restore', 'snapshot', 'one of another cache', 'a snapshot of this cache');
    if (snapshot.disposed)
      throw new SkipVisionError('disposed', 'KvCache.restore: the snapshot was disposed', { op: 'restore', argument: 'snapshot' });
    for (const [index, { k, v, positions }] of snapshot.layers.entries()) {
      if (positions.length > this.capacity(index)) {
        const larger = this.#makeLayer(positions.length);
        freeLayer(this.#layers[index]!);
        this.#layers[index] = larger;
      }
      const held = this.#layers[index]!;
      using keep = this.backend.upload(range(0, positions.length));
      this.backend.run(compactKv, { k, v, keep, kOut: held.k, vOut: held.v }, {});
      held.positions = positions;
    }
    this.nextPosition = snapshot.nextPosition;
  }

  [Symbol.dispose](): void {
    this.#layers.forEach(freeLayer);
    this.#positionTensor?.dispose();
    this.#positionTensor = undefined;
  }

  #layer(index: number): Layer {
    const layer = this.#layers[index];
    if (!layer) throw invalidArgument('KvCache', 'layer', String(index), `a layer below ${this.#layers.length}`);
    return layer;
  }

  /** Writes the listed ones of fresh rows [1, n, W] into an empty layer. Only rows of the layer's dtype go there at once. */
  #appendPart(held: Layer, kNew: Tensor<'f32'>, vNew: Tensor<'f32'>, rows: Uint32Array): void {
    const { backend } = this;
    using keep = backend.upload(rows);
    if (this.dtype === 'f32') {
      backend.run(compactKv, { k: kNew, v: vNew, keep, kOut: held.k, vOut: held.v }, {});
      return;
    }
    const desc = { dtype: 'f32', shape: [1, rows.length, this.#width] } as const;
    using kKept = backend.empty(desc);
    using vKept = backend.empty(desc);
    backend.run(compactKv, { k: kNew, v: vNew, keep, kOut: kKept, vOut: vKept }, {});
    backend.run(appendKv, { kNew: kKept, vNew: vKept, k: held.k, v: held.v }, { at: 0 });
  }

  /** The listed rows of a layer in an allocation of their own. */
  #copyRows(layer: Layer, rows: Uint32Array, capacity: number): Layer {
    const copy = this.#makeLayer(capacity);
    try {
      using keep = this.backend.upload(rows);
      this.backend.run(compactKv, { k: layer.k, v: layer.v, keep, kOut: copy.k, vOut: copy.v }, {});
    } catch (error) {
      freeLayer(copy);
      throw error;
    }
    copy.positions = Uint32Array.from(rows, (row) => layer.positions[row]!);
    return copy;
  }

  #makeLayer(capacity: number): Layer {
    const desc = { dtype: this.dtype, shape: [1, capacity, this.#width] };
    const k = this.backend.empty(desc);
    try {
      return { k, v: this.backend.empty(desc), positions: new Uint32Array(0), capacity };
    } catch (error) {
      k.dispose();
      throw error;
    }
  }

  #rowBytes(rows: number): number {
    return 2 * bytesOf({ dtype: this.dtype, shape: [rows, this.#width] });
  }
}

/** A copy of a cache's rows. Made by `KvCache.snapshot`; holds memory of its own until disposed. */
export class KvSnapshot implements Disposable {
  readonly cache: KvCache;
  readonly layers: readonly Layer[];
  readonly nextPosition: number;
  disposed = false;

  constructor(cache: KvCache, layers: readonly Layer[], nextPosition: number) {
    this.cache = cache;
    this.layers = layers;
    this.nextPosition = nextPosition;
  }

  [Symbol.dispose](): void {
    this.disposed = true;
    this.layers.forEach(freeLayer);
  }
}

/** Indices of the positions outside all ranges, ascending. */
export function rowsOutside(positions: Uint32Array, ranges: readonly (readonly [start: number, end: number])[]): Uint32Array {
  const rows: number[] = [];
  positions.forEach((position, row) => {
    if (!ranges.some(([start, end]) => start <= position && position < end)) rows.push(row);
  });
  return Uint32Array.from(rows);
}

function freeLayer(layer: Layer): void {
  layer.k.dispose();
  layer.v.dispose();
}

function checkAscending(op: string, argument: string, list: Uint32Array, last = -1): void {
  let previous = last;
  for (const each of list) {
    if (each <= previous)
      throw invalidArgument(op, argument, `${each} after ${previous}`, `strictly ascending ${argument === 'keep' ? 'rows' : argument}`);
    previous = each;
  }
}

function concat(a: Uint32Array, b: Uint32Array): Uint32Array {
  const joined = new Uint32Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
