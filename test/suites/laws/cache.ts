/** Random key/value caches, and what laws do with them. */
import type { Backend } from '../../../src/backend/backend.ts';
import { attention, compactKv } from '../../../src/ops/index.ts';
import { apply, f32, out, u32, type Values } from '../../operands.ts';
import type { Random } from '../../random.ts';

export interface Cache {
  k: Float32Array;
  v: Float32Array;
  positions: Uint32Array;
}

export const [HEADS, KV_HEADS, WIDTH] = [4, 2, 12];

export function randomCache(random: Random, rows: number): Cache {
  const size = rows * KV_HEADS * WIDTH;
  return { k: random.normal(size), v: random.normal(size), positions: Uint32Array.from({ length: rows }, (_, i) => i) };
}

export async function compact(backend: Backend, { k, v, positions }: Cache, keep: Uint32Array): Promise<Cache> {
  const [S, W] = [positions.length, KV_HEADS * WIDTH];
  const kept = await apply(backend, compactKv, { k: f32(k, 1, S, W), v: f32(v, 1, S, W), keep: u32(keep) }, {});
  const part = (array: unknown) => (array as Float32Array).slice(0, keep.length * W);
  return { k: part(kept.k), v: part(kept.v), positions: keep.map((row) => positions[row]!) };
}

export async function attend(
  backend: Backend,
  q: Float32Array,
  qPositions: Uint32Array,
  { k, v, positions }: Cache,
  hiddenKeys: readonly [number, number, number][] = [],
  as: (values: Values) => Values = (values) => values,
): Promise<Float32Array> {
  const [T, S] = [qPositions.length, positions.length];
  const values: Values = {
    q: f32(q, T, HEADS, WIDTH),
    k: f32(k, S, KV_HEADS, WIDTH),
    v: f32(v, S, KV_HEADS, WIDTH),
    qPositions: u32(qPositions),
    kPositions: u32(positions),
    o: out(T, HEADS, WIDTH),
  };
  return (await apply(backend, attention, as(values), { scale: 0.3, causal: true, hiddenKeys })).o as Float32Array;
}
