import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import { range } from './rows.ts';

/** The numbers 0, 1, 2 ... on a backend: places among the keys of a layer. */
export class Ranks implements Disposable {
  readonly #backend: Backend;
  #host = new Uint32Array(0);
  #held: Tensor<'u32'> | undefined;
  #between: { start: number; tensor: Tensor<'u32'> } | undefined;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** [0, end) on the backend. */
  below(end: number): Tensor<'u32'> {
    if (!this.#held || this.#held.size < end) {
      this.#held?.dispose();
      this.#held = undefined;
      this.#held = this.#backend.upload(this.list(0, end));
    }
    return this.#held.view([end]);
  }

  /** [start, end) on the backend, until others are asked for: blocks with as many keys ask for the same. */
  between(start: number, end: number): Tensor<'u32'> {
    if (this.#between?.start !== start || this.#between.tensor.size !== end - start) {
      this.#between?.tensor.dispose();
      this.#between = undefined;
      this.#between = { start, tensor: this.#backend.upload(this.list(start, end)) };
    }
    return this.#between.tensor;
  }

  /** [start, end) */
  list(start: number, end: number): Uint32Array {
    if (this.#host.length < end) this.#host = range(0, end);
    return this.#host.subarray(start, end);
  }

  [Symbol.dispose](): void {
    this.#held?.dispose();
    this.#between?.tensor.dispose();
    this.#held = undefined;
    this.#between = undefined;
  }
}
