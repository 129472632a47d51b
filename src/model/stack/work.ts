import type { Backend } from '../../backend/backend.ts';
import type { Op } from '../../backend/bound-op.ts';
import * as field from '../../backend/fields.ts';
import type { AttrsOf, IoOf } from '../../backend/op.ts';
import type { DType, Tensor } from '../../backend/tensor.ts';

/** So few rows leave a device little to do in a block. */
const FEW_ROWS = 8;

/** One caller's use of a backend: what its ops cost, and when it wants to stop. Calls at the same time do not count each other's. */
export class Work {
  readonly backend: Backend;
  readonly signal: AbortSignal | undefined;
  /** Of the ops that ran here: closed forms, 2 per multiply-add. */
  flops = 0;

  constructor(backend: Backend, signal?: AbortSignal) {
    this.backend = backend;
    this.signal = signal;
  }

  run<O extends Op>(op: O, io: IoOf<O>, attrs: AttrsOf<O>): void {
    const dims = this.backend.run(op, io, attrs);
    this.flops += op.definition.cost(dims, attrs, io).flops;
  }

  /** A new tensor that `fill` writes, of f32 by default. When `fill` throws, the tensor is freed before the error goes on. */
  produce(shape: readonly number[], fill: (y: Tensor<'f32'>) => void): Tensor<'f32'>;
  produce<D extends DType>(shape: readonly number[], fill: (y: Tensor<D>) => void, dtype: D): Tensor<D>;
  produce<D extends DType>(shape: readonly number[], fill: (y: Tensor<D>) => void, dtype = 'f32' as D): Tensor<D> {
    const y = this.backend.empty({ dtype, shape });
    try {
      fill(y);
      return y;
    } catch (error) {
      y.dispose();
      throw error;
    }
  }

  /** Gives the thread back. Work on rows as few as in decoding is handed over to the device many blocks at a time. */
  rest(rows: number): Promise<void> {
    const { backend, signal } = this;
    return rows > FEW_ROWS ? backend.flush({ signal }) : backend.pause({ signal });
  }
}

export const WORK = field.instance(Work);

/** Things that are freed together, unless they are moved on. */
export class Scope implements Disposable {
  #held: Disposable[] = [];

  keep<T extends Disposable>(made: T): T {
    this.#held.push(made);
    return made;
  }

  /** All that is held, as a scope of its own. */
  move(): Scope {
    const moved = new Scope();
    moved.#held = this.#held;
    this.#held = [];
    return moved;
  }

  [Symbol.dispose](): void {
    for (const made of this.#held.splice(0).reverse()) made[Symbol.dispose]();
  }
}
