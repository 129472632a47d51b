import { invalidArgument } from '../backend/errors.ts';
import * as field from '../backend/fields.ts';
import type { Tensor } from '../backend/tensor.ts';
import { FRACTION, type FastVRounding, keptImageRows, ROUNDING } from '../cost/fastv.ts';
import type { Method } from '../model/stack/hooks.ts';
import { keepRows, type Stream } from '../model/stack/rows.ts';
import type { Work } from '../model/stack/work.ts';
import { topKRows } from '../ops/top-k-rows.ts';
import { none } from './none.ts';

export interface FastVOptions {
  /** K: decoder layers that run on all rows, from 1 to one less than the decoder has. Default 2. */
  k?: number;
  /** R: the fraction of the image rows that leave after them. Default 0.5. */
  r?: number;
  /** How the number of those that stay becomes whole. Default 'round'. */
  rounding?: FastVRounding;
}

export const FASTV_FIELDS: field.Fields<FastVOptions> = {
  k: field.optional(field.integer({ min: 1, max: 2 ** 16 })),
  r: field.optional(FRACTION),
  rounding: field.optional(ROUNDING),
};

/**
 * FastV: An Image is Worth 1/2 Tokens After Layer 2 (arXiv 2403.06764). Training-free.
 *
 * The first `k` layers run on every row; then the image rows leave to which the last row of the prompt attends least in layer k - 1, on
 * the average of its heads: the criterion of the authors' code (the paper's text speaks of the attention received from all rows). The other rows
 * keep their positions, and the choice stands while decoding: the first k layers hold keys and values of all rows, the others of those
 * that stayed. All pictures of a prompt are ranked together.
 */
export function fastV(options: FastVOptions = {}): Method {
  field.checkFields('fastV', options, FASTV_FIELDS);
  const { k = 2, r = 0.5, rounding = 'round' } = options;
  return {
    name: 'fastv',
    key: none().key, // what a picture is encoded to does not depend on it
    async start({ work, depth }) {
      if (k >= depth.decoder) throw invalidArgument('fastV', 'k', `${k}`, `below ${depth.decoder}, the layers of the decoder`);
      return {
        decoder: {
          async after(layer, stream, seen) {
            if (layer !== k - 1) return undefined;
            using scores = seen.scores(stream.rows.order.length - 1, 'mean');
            return await pruneImage(work, stream, scores, (imageRows) => keptImageRows(imageRows, r, rounding));
          },
        },
        [Symbol.dispose]() {},
      };
    },
  };
}

/** The stream without the image rows of the lowest scores. (spec 3.1, steps 3 and 4) */
async function pruneImage(
  work: Work,
  stream: Stream,
  scores: Tensor<'f32'>,
  keptOf: (imageRows: number) => number,
): Promise<Stream | undefined> {
  const { order, segments } = stream.rows;
  const n = order.length;
  const others = segments.filter(({ kind }) => kind !== 'image').map(({ start, end }) => [start, end] as const);
  const otherRows = others.reduce((sum, [start, end]) => sum + end - start, 0);
  const k = keptOf(n - otherRows);
  if (k === n - otherRows) return undefined;
  using rows = work.backend.empty({ dtype: 'u32', shape: [otherRows + k] });
  work.run(topKRows, { scores: scores.slice(scores.size - n, scores.size), rows }, { k, alwaysKeep: others });
  return keepRows(work, stream, await work.backend.read(rows, { signal: work.signal }));
}
