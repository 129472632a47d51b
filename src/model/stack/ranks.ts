import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import { range } from './rows.ts';

/** The numbers 0, 1, 2 ... on a backend: places among the keys of a layer. */
export class Ranks implements Disposable {
  readonly #backend: Backend;
  /** By their first number: a GPU would copy a view that starts elsewhere to where it may be bound, in every block. */
  readonly #held = new Map<number, Tensor<'u32'>>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** [start, end), until more from `start` on are asked for. */
  between(start: number, end: number): Tensor<'u32'> {
    let held = this.#held.get(start);
    if (!held || held.size < end - start) {
      held?.dispose();
      held = this.#backend.upload(range(start, end));
      this.#held.set(start, held);
    }
    return held.view([end - start]);
  }

  [Symbol.dispose](): void {
    for (const held of this.#held.values()) held.dispose();
  }
}
