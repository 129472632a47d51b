import { invalidArgument } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { Tensor } from '../../backend/tensor.ts';
import { copyRows } from '../../ops/copy-rows.ts';
import type { Work } from './work.ts';

/** What a row stands for. Methods may bring kinds of their own. */
export type SegmentKind = 'text' | 'image' | 'retained' | 'skipped' | 'summary' | (string & {});

/** Rows [start, end) of a stream. */
export interface Segment {
  kind: SegmentKind;
  start: number;
  end: number;
}

/** What the rows of a stream are. Row, order and angle part company as soon as a row is removed or merged. */
export interface Rows {
  /** Place of each row in the causal sequence, and its key in the cache. Strictly ascending. [n] */
  order: Uint32Array;
  /** What RoPE sees of each row: one list [n]. Default `order`. */
  angles?: readonly Uint32Array[];
  /** In order, without gaps. */
  segments: readonly Segment[];
}

/** The residual stream: x [n, width], and what its rows are. */
export interface Stream {
  x: Tensor<'f32'>;
  rows: Rows;
}

/** x [n, width]. */
export const MATRIX = field.anything<Tensor<'f32'>>(
  'a Tensor [n, width] of f32',
  (value) => value instanceof Tensor && value.dtype === 'f32' && value.shape.length === 2,
);
export const STREAM = field.anything<Stream>('{ x, rows }: x [n, width] of f32, an order (and angles) of n, segments', (value) => {
  const { x, rows } = (value ?? {}) as Partial<Stream>;
  const { order, angles = [], segments } = rows ?? ({} as Partial<Rows>);
  const isList = (list: unknown) => list instanceof Uint32Array && list.length === x!.shape[0];
  return MATRIX.accepts(x) && isList(order) && angles.every(isList) && Array.isArray(segments);
});

/** Rows [n, width] that enter a sequence together. */
export interface Part {
  kind: SegmentKind;
  rows: Tensor<'f32'>;
}

/** Copies the parts one after another into a stream whose order starts at `first`. The parts stay the caller's. */
export function assemble(work: Work, parts: readonly Part[], width: number, first = 0): Stream {
  const length = parts.reduce((sum, { rows }) => sum + rows.shape[0]!, 0);
  const segments: Segment[] = [];
  const x = work.produce([length, width], (y) => {
    let at = 0;
    for (const { kind, rows } of parts) {
      const count = rows.shape[0]!;
      if (count === 0) continue;
      work.run(copyRows, { x: rows, y }, { at });
      segments.push({ kind, start: at, end: at + count });
      at += count;
    }
  });
  return { x, rows: { order: range(first, first + length), segments } };
}

/** A stream of the listed rows alone, ascending, with an x of its own. The one given stays the caller's. */
export function keepRows(work: Work, { x, rows }: Stream, keep: Uint32Array): Stream {
  return { x: takeRows(work, x, keep), rows: pickRows(rows, keep) };
}

/** What the listed rows are, ascending. */
export function pickRows({ order, angles, segments }: Rows, keep: Uint32Array): Rows {
  const pick = (list: Uint32Array) => Uint32Array.from(keep, (row) => list[row]!);
  const kept: Segment[] = [];
  let at = 0;
  for (const { kind, end } of segments) {
    const start = at;
    while (at < keep.length && keep[at]! < end) at++;
    if (at > start) kept.push({ kind, start, end: at });
  }
  return { order: pick(order), angles: angles?.map(pick), segments: kept };
}

/** The listed rows of x [n, D], ascending, as a tensor of their own. */
export function takeRows(work: Work, x: Tensor<'f32'>, list: Uint32Array): Tensor<'f32'> {
  using rows = work.backend.upload(list);
  return work.produce([list.length, x.shape[1]!], (y) => work.run(copyRows, { x, rows, y }, {}));
}

/** Rows of the segments of a kind, or with `other` of all other kinds; ascending. */
export function rowsOf({ order, segments }: Rows, kind: SegmentKind, other = false): Uint32Array {
  const inside = segments.filter((segment) => (segment.kind === kind) !== other);
  const list = new Uint32Array(order.length);
  let length = 0;
  for (const { start, end } of inside) for (let row = start; row < end; row++) list[length++] = row;
  return list.subarray(0, length);
}

/** The integers [start, end). */
export function range(start: number, end: number): Uint32Array<ArrayBuffer> {
  const list = new Uint32Array(end - start);
  for (let i = 0; i < list.length; i++) list[i] = start + i;
  return list;
}

/** Rows in both ascending lists; undefined stands for all rows. */
export function intersect(a: Uint32Array | undefined, b: Uint32Array | undefined): Uint32Array | undefined {
  if (!a || !b) return a ?? b;
  const inB = new Set(b);
  return a.filter((row) => inB.has(row));
}

/** The rows below `length` that are not in an ascending list. */
export function otherRows(list: Uint32Array, length: number): Uint32Array {
  const listed = new Set(list);
  return range(0, length).filter((row) => !listed.has(row));
}

export function checkAscending(op: string, argument: string, values: Uint32Array, last = -1): void {
  let previous = last;
  for (const each of values) {
    if (each <= previous) throw invalidArgument(op, argument, `${each} after ${previous}`, 'strictly ascending');
    previous = each;
  }
}

/** Refuses a list that is not of rows below `length`, ascending. */
export function checkRows(op: string, argument: string, rows: Uint32Array, length: number): void {
  checkAscending(op, argument, rows);
  const last = rows.at(-1) ?? -1;
  if (last >= length) throw invalidArgument(op, argument, `row ${last}`, `rows below ${length}`);
}
