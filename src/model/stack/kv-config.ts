import { BACKEND, SIGNAL_OPTION } from '../../backend/backend.ts';
import { invalidArgument } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { type FloatDType, Tensor } from '../../backend/tensor.ts';

/** Heads of a layer's keys and values, and numbers of each. */
export interface KvShape {
  kvHeads: number;
  headDim: number;
}

export interface KvCacheConfig extends Partial<KvShape> {
  /** How many layers of `kvHeads` and `headDim`, or the shape of each. */
  layers: number | readonly KvShape[];
  /** Rows every layer has room for. Either this or `room`. */
  capacity?: number;
  /** Rows that a layer leaves free when the first rows enter, or when more enter than it has room for: it then moves. */
  room?: number;
  /** What keys and values are stored as; default 'f32'. 'f16' rounds them to nearest even and takes even head dims. */
  dtype?: FloatDType;
}

/** The lengths of a cache that `rewind` goes back to. */
export interface CacheMark {
  readonly lengths: readonly number[];
  readonly nextOrder: number;
  readonly nextAngle: number;
}

const COUNT = field.integer({ min: 0, max: 2 ** 31 });
const EXTENT = field.integer({ min: 1, max: 2 ** 20 });
const LAYERS = field.integer({ min: 0, max: 2 ** 16 });
const SHAPE: field.Fields<KvShape> = { kvHeads: EXTENT, headDim: EXTENT };
/** Of every cache, whatever its layers. */
export const KV_ROOM_FIELDS: field.Fields<Pick<KvCacheConfig, 'capacity' | 'room' | 'dtype'>> = {
  capacity: field.optional(COUNT),
  room: field.optional(COUNT),
  dtype: field.optional(field.oneOf('f32', 'f16')),
};

const CONFIG = field.record<KvCacheConfig>({
  ...KV_ROOM_FIELDS,
  layers: field.anything(`${LAYERS.expected}, or a list of { kvHeads, headDim }`, (value) => Array.isArray(value) || LAYERS.accepts(value)),
  kvHeads: field.optional(EXTENT),
  headDim: field.optional(EXTENT),
});
const ROWS = field.instance(Uint32Array);
const F32 = field.anything<Tensor<'f32'>>('a Tensor of f32', (value) => value instanceof Tensor && value.dtype === 'f32');
const ORDER = field.anything<Uint32Array | Tensor<'u32'>>(
  'a Uint32Array or a Tensor of u32',
  (value) => ROWS.accepts(value) || (value instanceof Tensor && value.dtype === 'u32'),
);
const CAPACITY = field.optional(field.record<{ capacity?: number }>({ capacity: field.optional(COUNT) }));

export const KV_CACHE_FIELDS = {
  create: { backend: BACKEND, config: CONFIG },
  append: { layer: COUNT, k: F32, v: F32, order: ORDER, rows: field.optional(ROWS) },
  extend: { layer: COUNT, order: ORDER },
  settle: { options: field.optional(field.record(SIGNAL_OPTION)) },
  compact: { layer: COUNT, keep: ROWS, options: CAPACITY },
  evict: { ranges: field.list(field.tuple(COUNT, COUNT)), options: CAPACITY },
  trim: { order: COUNT },
  advance: { order: ROWS, angles: field.optional(ROWS) },
  rewind: { mark: field.record<CacheMark>({ lengths: field.list(COUNT), nextOrder: COUNT, nextAngle: COUNT }) },
};

/** The shape of each layer. */
export function shapesOf({ layers, kvHeads, headDim }: KvCacheConfig): readonly KvShape[] {
  if (Array.isArray(layers) && (kvHeads ?? headDim) !== undefined)
    throw invalidArgument('KvCache', kvHeads === undefined ? 'headDim' : 'kvHeads', 'given with a list of layers', 'absent');
  const shapes = typeof layers === 'number' ? Array.from({ length: layers }, () => ({ kvHeads, headDim })) : layers;
  for (const shape of shapes) field.checkFields('KvCache', shape, SHAPE, 'layers');
  return shapes as readonly KvShape[];
}
