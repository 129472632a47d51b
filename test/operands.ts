/** Operands of an op as plain data, so that one case runs on any backend. */
import type { Backend } from '../src/backend/backend.ts';
import { toF16Bits } from '../src/backend/f16.ts';
import type { Operand } from '../src/backend/op.ts';
import type { Op } from '../src/backend/bound-op.ts';
import { Tensor } from '../src/backend/tensor.ts';
import type { Weight, WeightDType } from '../src/backend/weight.ts';

export interface F32 {
  f32: Float32Array;
  shape: readonly number[];
}
export interface U32 {
  u32: Uint32Array;
  shape: readonly number[];
}
export interface Packed {
  matrices: readonly Float32Array[];
  shape: readonly [number, number];
  dtype?: WeightDType;
}
export interface F16 {
  f16: Uint16Array;
  shape: readonly number[];
}
export type Value = F32 | F16 | U32 | Packed;
export type Values = Readonly<Record<string, Value | undefined>>;
export type Results = Record<string, Float32Array | Uint16Array | Uint32Array>;

export const f32 = (data: Float32Array, ...shape: number[]): F32 => ({ f32: data, shape });
export const u32 = (data: Uint32Array, shape: readonly number[] = [data.length]): U32 => ({ u32: data, shape });
export const matrix = (data: Float32Array, n: number, k: number): Packed => ({ matrices: [data], shape: [n, k] });
export const pair = (gate: Float32Array, up: Float32Array, n: number, k: number): Packed => ({ matrices: [gate, up], shape: [n, k] });
/** The same operands with the f32 ones of these names stored as f16. */
export function storedAsF16(values: Values, names: readonly string[] = ['k', 'v', 'kOut', 'vOut']): Values {
  const entries = Object.entries(values).map(([name, value]) => {
    const isStored = names.includes(name) && value && 'f32' in value;
    return [name, isStored ? { f16: Uint16Array.from(value.f32, toF16Bits), shape: value.shape } : value] as const;
  });
  return Object.fromEntries(entries);
}
/** The same operands with every weight packed as `dtype`. */
export function packedAs<V extends Values>(values: V, dtype: WeightDType): V {
  const entries = Object.entries(values).map(([name, value]) => [name, value && 'matrices' in value ? { ...value, dtype } : value]);
  return Object.fromEntries(entries) as V;
}
/** A tensor to be written. It starts as a recognisable number, so that a row left alone or written by mistake shows. */
export const out = (...shape: number[]): F32 => f32(new Float32Array(count(shape)).fill(-77.25), ...shape);
export const indexOut = (...shape: number[]): U32 => u32(new Uint32Array(count(shape)).fill(0xdead), shape);

function count(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Puts values into a backend's memory. */
export async function place(backend: Backend, values: Values): Promise<Record<string, Tensor | Weight>> {
  const placed: Record<string, Tensor | Weight> = {};
  for (const [name, value] of Object.entries(values)) {
    if (!value) continue;
    if ('f32' in value) placed[name] = backend.upload(value.f32, value.shape);
    else if ('f16' in value) placed[name] = backend.upload(value.f16, value.shape);
    else if ('u32' in value) placed[name] = backend.upload(value.u32, value.shape);
    else placed[name] = await packValue(backend, value);
  }
  return placed;
}

function packValue(backend: Backend, { matrices, shape, dtype }: Packed): Promise<Weight> {
  const [first, second] = matrices.map((data) => ({ data, shape }));
  return backend.pack(second ? { gate: first!, up: second } : first!, { dtype });
}

export function disposeAll(placed: Readonly<Record<string, Tensor | Weight>>): void {
  for (const held of Object.values(placed)) held.dispose();
}

/** Runs an op once on fresh memory; returns every tensor it may write. */
export async function apply(backend: Backend, op: Op, values: Values, attrs: object): Promise<Results> {
  const placed = await place(backend, values);
  try {
    backend.run(op, placed, attrs);
    return await readWritten(backend, op, placed);
  } finally {
    disposeAll(placed);
  }
}

export async function readWritten(backend: Backend, op: Op, placed: Readonly<Record<string, Tensor | Weight>>): Promise<Results> {
  const results: Results = {};
  for (const [name, operand] of Object.entries(op.definition.io) as [string, Operand][]) {
    const held = placed[name];
    if (held instanceof Tensor && operand.kind === 'tensor' && operand.access !== 'in') results[name] = await backend.read(held);
  }
  return results;
}
