/**
 * What a row of the op table is: cases of one op with random operands. Sizes are those at which loops turn over: empty, one,
 * and around the tiles 4, 8, 16 and 64 that kernels are made of.
 */
import type { Op } from '../../src/backend/bound-op.ts';
import type { WeightDType } from '../../src/backend/weight.ts';
import type { Results, Values } from '../operands.ts';
import type { Random } from '../random.ts';

export interface OpCase {
  /** What is special about it, e.g. `T = 17`. */
  title: string;
  values: Values;
  attrs: object;
  /** Length of the longest sum that an output goes through, times the number of such sums in a row. */
  sums: number;
  /** How the weights are packed; runs where the backend can. Default 'f32'. */
  dtype?: WeightDType;
  /** Products with both sides quantized that an output goes through one after the other; default 1. */
  products?: number;
  /** Results are copies or choices: equal to the bit. */
  exact?: boolean;
  /** Elements of an output that are defined, where not all are. */
  defined?: Readonly<Record<string, (array: Results[string]) => Results[string]>>;
}

export interface OpRow {
  op: Op;
  cases(random: Random): Iterable<OpCase>;
}

/** How weights are packed besides f32. */
export const PACKED: readonly WeightDType[] = ['f16', 'q8', 'q4'];

/** 0, 1, tile - 1, tile, tile + 1 and 2 tile + 3 for the tiles 4, 8, 16 and 64. */
export const TURNING_POINTS = [0, 1, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 19, 35, 63, 64, 65, 131];

/** The turning points for the last axis of f16. */
export const EVEN = [0, 2, 4, 6, 8, 10, 14, 16, 18, 34, 64, 66, 130];

/** The turning points for an axis that must not be empty. */
export const NONEMPTY = TURNING_POINTS.slice(1);

/** Every base with one extent at a time running through its sizes: sums, not products, of sizes. */
export function* star<D extends Record<string, number>>(
  base: D,
  axes: { [K in keyof D]?: readonly number[] },
): Generator<D & { title: string }> {
  for (const [axis, sizes] of Object.entries(axes)) {
    for (const size of sizes as readonly number[]) yield { ...base, [axis]: size, title: `${axis} = ${size}` };
  }
}
