/**
 * What Skip-Vision costs on paper, without running it: FLOPs and KV bytes of a decoder from its sizes. Two FLOPs per
 * multiply-add; norms, softmax and activations are not counted. `stats` of `generate` counts what really ran.
 */
import * as field from '../backend/fields.ts';

export interface DecoderSizes {
  hiddenSize: number;
  intermediateSize: number;
  /** KV heads times head dim. */
  kvWidth: number;
  numLayers: number;
}

/** Image rows of a setting: retained and skipped ones; two summary rows join them. */
export interface SkipVisionRows {
  retained: number;
  skipped: number;
}

const COUNT = field.integer({ min: 0 });
export const SIZES = field.record<DecoderSizes>({ hiddenSize: COUNT, intermediateSize: COUNT, kvWidth: COUNT, numLayers: COUNT });
const ROWS = field.record<SkipVisionRows>({ retained: COUNT, skipped: COUNT });
const RATIO_FIELDS = { sizes: SIZES, rows: ROWS, baseline: field.integer({ min: 1 }) };
export const COST_FIELDS = {
  macsPerRow: { sizes: SIZES },
  prefillFlops: { sizes: SIZES, attended: COUNT, ffn: COUNT },
  flopsRatio: RATIO_FIELDS,
  publishedFlopsRatio: RATIO_FIELDS,
  kvBytes: { sizes: SIZES, rows: COUNT, bytesPerElement: field.optional(field.number({ above: 0 })) },
};

/** Multiply-adds of one row in one layer. */
export function macsPerRow(sizes: DecoderSizes): { projections: number; ffn: number } {
  field.checkFields('macsPerRow', { sizes }, COST_FIELDS.macsPerRow);
  const { hiddenSize: d, intermediateSize: m, kvWidth } = sizes;
  return { projections: 2 * d * d + 2 * d * kvWidth, ffn: 3 * d * m };
}

/** FLOPs of a prefill, all layers alike: `attended` rows in causal attention, `ffn` of them through the FFN. */
export function prefillFlops(sizes: DecoderSizes, attended: number, ffn: number): number {
  field.checkFields('prefillFlops', { sizes, attended, ffn }, COST_FIELDS.prefillFlops);
  return sizes.numLayers * layerFlops(sizes, attended, ffn, (attended * (attended + 1)) / 2);
}

/** FLOPs of the image rows under Skip-Vision relative to `baseline` ordinary rows; every row pair attends. */
export function flopsRatio(sizes: DecoderSizes, rows: SkipVisionRows, baseline: number): number {
  field.checkFields('flopsRatio', { sizes, rows, baseline }, COST_FIELDS.flopsRatio);
  const attended = rows.retained + rows.skipped + 2;
  return layerFlops(sizes, attended, rows.retained + 2, attended ** 2) / layerFlops(sizes, baseline, baseline, baseline ** 2);
}

/**
 * The formula that comes nearest to the ratios printed in the paper (arXiv 2503.21817, Table 1): one count per
 * multiply-add, full-width keys and values. A fit after the fact: the paper's own formula is not known.
 */
export function publishedFlopsRatio(sizes: DecoderSizes, rows: SkipVisionRows, baseline: number): number {
  field.checkFields('publishedFlopsRatio', { sizes, rows, baseline }, COST_FIELDS.publishedFlopsRatio);
  const { hiddenSize: d, intermediateSize: m } = sizes;
  const cost = (attended: number, ffn: number) => 4 * attended * d * d + 2 * attended ** 2 * d + 3 * ffn * d * m;
  return cost(rows.retained + rows.skipped + 2, rows.retained + 2) / cost(baseline, baseline);
}

/** Bytes of keys and values of `rows` rows in all layers. */
export function kvBytes(sizes: DecoderSizes, rows: number, bytesPerElement = 4): number {
  field.checkFields('kvBytes', { sizes, rows, bytesPerElement }, COST_FIELDS.kvBytes);
  return 2 * sizes.numLayers * sizes.kvWidth * bytesPerElement * rows;
}

function layerFlops(sizes: DecoderSizes, attended: number, ffn: number, pairs: number): number {
  const macs = macsPerRow(sizes);
  return 2 * (attended * macs.projections + ffn * macs.ffn + 2 * pairs * sizes.hiddenSize);
}
