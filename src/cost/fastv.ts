/** What FastV costs on paper: equation 5 of the paper (arXiv 2403.06764) and the bytes of keys and values that stay. */
import * as field from '../backend/fields.ts';
import { type DecoderSizes, SIZES } from './skip-vision.ts';

/** How a fraction of the image rows becomes a number of them: the authors' llava-hf code rounds, their lmms-eval code cuts off. */
export type FastVRounding = 'round' | 'floor';

/** A prompt under FastV. */
export interface FastVRows {
  /** Rows of the prompt, those of the image among them. */
  rows: number;
  imageRows: number;
  /** Layers that run on all rows. 0 is the paper's random choice in front of the first layer. */
  k: number;
  /** Fraction of the image rows that leave. */
  r: number;
  rounding?: FastVRounding;
}

const COUNT = field.integer({ min: 0 });
export const FRACTION = field.number({ min: 0, max: 1 });
export const ROUNDING = field.oneOf('round', 'floor');
const ROWS = field.record<FastVRows>({
  rows: COUNT,
  imageRows: COUNT,
  k: COUNT,
  r: FRACTION,
  rounding: field.optional(ROUNDING),
});
export const FASTV_COST_FIELDS = {
  keptImageRows: { imageRows: COUNT, r: FRACTION, rounding: field.optional(ROUNDING) },
  publishedFastVMacs: { sizes: SIZES, prompt: ROWS },
  fastVKvBytes: { sizes: SIZES, prompt: ROWS, bytesPerElement: field.optional(field.number({ above: 0 })) },
};

/** Image rows that stay: imageRows * (1 - r). (spec 3.1, step 3) */
export function keptImageRows(imageRows: number, r: number, rounding: FastVRounding = 'round'): number {
  field.checkFields('keptImageRows', { imageRows, r, rounding }, FASTV_COST_FIELDS.keptImageRows);
  return Math[rounding](imageRows * (1 - r));
}

/**
 * Multiply-adds of a layer without and, on the average of all layers, with FastV: equation 5. It counts an FFN of two matrices, keys and
 * values of full width, every pair of rows, and image rows that stay as a real number.
 */
export function publishedFastVMacs(sizes: DecoderSizes, prompt: FastVRows): { base: number; average: number } {
  field.checkFields('publishedFastVMacs', { sizes, prompt }, FASTV_COST_FIELDS.publishedFastVMacs);
  const { hiddenSize: d, intermediateSize: m, numLayers: L } = sizes;
  const { rows: n, imageRows, k, r } = prompt;
  const layer = (x: number) => 4 * x * d * d + 2 * x * x * d + 2 * x * d * m;
  return { base: layer(n), average: (k * layer(n) + (L - k) * layer(n - imageRows * r)) / L };
}

/** Bytes of the keys and values after prefill: all rows in the first k layers, those that stay in the others. */
export function fastVKvBytes(sizes: DecoderSizes, prompt: FastVRows, bytesPerElement = 4): number {
  field.checkFields('fastVKvBytes', { sizes, prompt, bytesPerElement }, FASTV_COST_FIELDS.fastVKvBytes);
  const { rows, imageRows, k, r, rounding } = prompt;
  const kept = rows - imageRows + keptImageRows(imageRows, r, rounding);
  return 2 * sizes.kvWidth * bytesPerElement * (k * rows + (sizes.numLayers - k) * kept);
}
