import type { Backend } from '../../backend/backend.ts';
import { bytesOf, type FloatDType, type Tensor } from '../../backend/tensor.ts';
import type { KvShape } from './kv-config.ts';
import { range } from './rows.ts';
import { Scope } from './work.ts';

/** Keys and values of one layer [1, capacity, Hkv * dh], of which the first `length` rows count. */
export class KvLayer implements Disposable {
  readonly k: Tensor<FloatDType>;
  readonly v: Tensor<FloatDType>;
  readonly capacity: number;
  readonly kvHeads: number;
  readonly headDim: number;
  length = 0;
  /** Places of the rows in the causal sequence, ascending. */
  readonly order: Uint32Array;
  /** Parts of `order` that are known on the device only, from row `at` on. */
  unread: { at: number; order: Tensor<'u32'> }[] = [];

  constructor(backend: Backend, { kvHeads, headDim }: KvShape, capacity: number, dtype: FloatDType) {
    this.capacity = capacity;
    this.kvHeads = kvHeads;
    this.headDim = headDim;
    this.order = new Uint32Array(capacity);
    const desc = { dtype, shape: [1, capacity, kvHeads * headDim] };
    using made = new Scope();
    this.k = made.keep(backend.empty(desc));
    this.v = made.keep(backend.empty(desc));
    made.move();
  }

  get width(): number {
    return this.kvHeads * this.headDim;
  }

  bytes(rows: number): number {
    return 2 * bytesOf({ dtype: this.k.dtype, shape: [rows, this.width] });
  }

  /** Forgets the rows from `length` on. */
  cut(length: number): void {
    this.length = Math.min(this.length, length);
    for (const { order } of this.unread.filter(({ at }) => at >= length)) order.dispose();
    this.unread = this.unread.filter(({ at }) => at < length);
  }

  [Symbol.dispose](): void {
    this.cut(0);
    this.k.dispose();
    this.v.dispose();
  }
}

/** Indices of the orders outside all half-open ranges, ascending. */
export function rowsOutside(order: Uint32Array, ranges: readonly (readonly [start: number, end: number])[]): Uint32Array {
  return range(0, order.length).filter((row) => !ranges.some(([start, end]) => start <= order[row]! && order[row]! < end));
}
