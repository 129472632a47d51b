import { SkipVisionError } from '../../backend/errors.ts';
import type { Tensor } from '../../backend/tensor.ts';
import { copyRows } from '../../ops/copy-rows.ts';
import { ropeTables } from '../../ops/rope.ts';
import type { BlockSpec } from './block.ts';
import type { Rows } from './rows.ts';
import { Scope, type Work } from './work.ts';

/** Cosines and sines [n, dh/2] of the angles of rows. */
export interface Rotation extends Disposable {
  readonly cos: Tensor<'f32'>;
  readonly sin: Tensor<'f32'>;
}

function rotationOf(make: (part: 'cos' | 'sin') => Tensor<'f32'>): Rotation {
  using made = new Scope();
  const [cos, sin] = [made.keep(make('cos')), made.keep(make('sin'))];
  const held = made.move();
  return { cos, sin, [Symbol.dispose]: () => held[Symbol.dispose]() };
}

/** The rotation of the listed rows. */
export function pickRotation(work: Work, rotation: Rotation, rows: Tensor<'u32'>): Rotation {
  return rotationOf((part) => {
    const x = rotation[part];
    return work.produce([rows.size, x.shape[1]!], (y) => work.run(copyRows, { x, rows, y }, {}));
  });
}

/** The rotation that blocks of a stack share, made anew when a block rotates otherwise or the rows are others. */
export class Rotations implements Disposable {
  readonly #work: Work;
  #held: { rows: Rows; theta: number; headDim: number; rotation: Rotation } | undefined;

  constructor(work: Work) {
    this.#work = work;
  }

  of({ rope, headDim }: BlockSpec, rows: Rows): Rotation | undefined {
    if (!rope) return undefined;
    const held = this.#held;
    if (held?.rows === rows && held.theta === rope.theta && held.headDim === headDim) return held.rotation;
    this[Symbol.dispose]();
    const { order, angles } = rows;
    if (angles && angles.length !== 1)
      throw new SkipVisionError('unsupported', `RoPE: ${angles.length} lists of angles, and blocks here take one`, { argument: 'angles' });
    const tables = ropeTables(angles?.[0] ?? order, headDim, rope.theta);
    const rotation = rotationOf((part) => this.#work.backend.upload(tables[part], [order.length, headDim / 2]));
    this.#held = { rows, theta: rope.theta, headDim, rotation };
    return rotation;
  }

  [Symbol.dispose](): void {
    this.#held?.rotation[Symbol.dispose]();
    this.#held = undefined;
  }
}
