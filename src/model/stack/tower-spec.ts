import type { BlockSpec } from './block.ts';

/** A vision tower: patches, an optional class row in front, learned positions, then blocks that see all rows. */
export interface TowerSpec {
  imageSize: number;
  patchSize: number;
  channels: number;
  width: number;
  /** Those that run. */
  blocks: readonly BlockSpec[];
  eps: number;
  /** Names of tensors; `classRow` and `preNorm` where there are such. */
  names: { patches: string; positions: string; classRow?: string; preNorm?: string };
}

/** Rows of patches, without the class row. */
export function patchesOf({ imageSize, patchSize }: TowerSpec): number {
  return (imageSize / patchSize) ** 2;
}
