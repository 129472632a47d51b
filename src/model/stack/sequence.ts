import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import { embedding } from '../../ops/embedding.ts';
import { produce } from './produce.ts';

export type SegmentKind = 'text' | 'image' | 'retained' | 'skipped' | 'summary';

/** Rows [n, D] that enter the sequence together. */
export interface Part {
  kind: SegmentKind;
  rows: Tensor<'f32'>;
}

/** Rows [start, end) of a sequence. */
export interface Segment {
  kind: SegmentKind;
  start: number;
  end: number;
}

/** A composed prompt: embedded rows, the position RoPE sees for each, and what they are. */
export interface Sequence {
  /** [n, D] */
  embeds: Tensor<'f32'>;
  /** [n], strictly ascending. */
  positions: Uint32Array;
  /** In order, without gaps. */
  segments: readonly Segment[];
}

/** Copies the parts one after another into a sequence whose positions start at `firstPosition`. The parts stay the caller's. */
export function assemble(backend: Backend, parts: readonly Part[], hiddenSize: number, firstPosition = 0): Sequence {
  const length = parts.reduce((sum, part) => sum + part.rows.shape[0]!, 0);
  const segments: Segment[] = [];
  const embeds = produce(backend, [length, hiddenSize], (y) => {
    let at = 0;
    for (const { kind, rows } of parts) {
      const count = rows.shape[0]!;
      if (count === 0) continue;
      using all = backend.upload(range(0, count));
      backend.run(embedding, { table: rows, ids: all, y }, { at });
      segments.push({ kind, start: at, end: at + count });
      at += count;
    }
  });
  return { embeds, positions: range(firstPosition, firstPosition + length), segments };
}

/** The integers [start, end). */
export function range(start: number, end: number): Uint32Array {
  return Uint32Array.from({ length: end - start }, (_, i) => start + i);
}

/** The listed rows of x [n, D], in that order, as a tensor of their own. */
export function copyRows(backend: Backend, x: Tensor<'f32'>, rows: Uint32Array): Tensor<'f32'> {
  using ids = backend.upload(rows);
  return produce(backend, [rows.length, x.shape[1]!], (y) => backend.run(embedding, { table: x, ids, y }, {}));
}
