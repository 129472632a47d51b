/** THE table: one row per op. A new op needs one here; the ops suite fails without it. */
import { attentionRow, attentionScoresRow } from './attention.ts';
import { appendKvRow, compactKvRow, copyRowsRow, embeddingRow, gatherPositionsRow, scatterRowsRow } from './copies.ts';
import { gatheredFfnRow } from './gathered-ffn.ts';
import { linearRow, patchEmbeddingRow } from './linear.ts';
import { layerNormRow, rmsNormRow, ropeAppendRow, ropeRow } from './norms.ts';
import { argmaxRow, mergeRow, summaryRow, topKRowsRow } from './selection.ts';
import type { OpRow } from './row.ts';

export const OP_ROWS: readonly OpRow[] = [
  rmsNormRow,
  layerNormRow,
  ropeRow,
  ropeAppendRow,
  linearRow,
  gatheredFfnRow,
  patchEmbeddingRow,
  attentionRow,
  attentionScoresRow,
  appendKvRow,
  compactKvRow,
  embeddingRow,
  scatterRowsRow,
  copyRowsRow,
  gatherPositionsRow,
  argmaxRow,
  topKRowsRow,
  mergeRow,
  summaryRow,
];
