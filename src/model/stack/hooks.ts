/** What a method may change between the pixels and the answer. Every hook is optional; no hook, no work. */
import * as field from '../../backend/fields.ts';
import { type FloatDType, Tensor } from '../../backend/tensor.ts';
import type { HiddenKeys } from '../../ops/attention.ts';
import type { Part, Rows, Stream } from './rows.ts';
import type { TowerSpec } from './tower-spec.ts';
import type { Work } from './work.ts';

export interface Method {
  readonly name: string;
  /** The name and all settings that an encoded image depends on: one of another key is refused. */
  readonly key: string;
  /** Asked for every picture that is encoded and for every answer. */
  start(room: Room): Promise<Run>;
}

/** By structure. */
export const METHOD: field.Required<Method> = field.anything(
  'a Method, e.g. of methodByName',
  (value) => typeof (value as Method | null)?.start === 'function',
);

/** What a method is told of a model that it is made for. */
export interface ModelFacts {
  /** `config.json` as it is. */
  readonly json: Readonly<Record<string, unknown>>;
  readonly tower: TowerSpec;
}

export const MODEL_FACTS = field.anything<ModelFacts>('{ json, tower }, e.g. the config of a model', (value) => {
  const { json, tower } = (value ?? {}) as Partial<ModelFacts>;
  return typeof json === 'object' && json !== null && typeof tower?.imageSize === 'number';
});

/** What a run may use. */
export interface Room {
  readonly work: Work;
  /** Blocks that run in each part of the model. */
  readonly depth: { readonly tower: number; readonly decoder: number };
  /** A parameter that the checkpoint holds for the method; the model's own, do not free it. Throws 'unsupported' where it is missing. */
  tensor(name: string, shape: readonly number[]): Promise<Tensor<'f32'>>;
}

/** One picture's or one answer's use of a method, so that it may keep state. */
export interface Run extends Disposable {
  readonly tower?: Hooks;
  readonly decoder?: Hooks;
  /** The rows that a picture brings to the sequence, in order; the caller frees them, also `image.x` where it is handed on. Default: all. */
  compose?(image: Stream): Promise<Part[]>;
  /**
   * Rows whose keys and values leave the cache after prefill, ascending; asked once for every layer, before it attends, with the rows
   * that it attends with, where these are known on the host. They never enter an empty cache.
   */
  evict?(layer: number, rows: Rows): Uint32Array;
}

/** What changes in the blocks of a part. The stack frees the tensors of a stream that a hook has replaced; all others are the method's. */
export interface Hooks {
  /** Default 'prefill': decode rows run in full. */
  readonly phase?: 'prefill' | 'always';
  /** What block `layer` does with which rows. */
  plan?(layer: number, stream: Stream): Plan | Promise<Plan>;
  /**
   * After attention, before the FFN; asked of blocks without a row list of their own. A stream returned takes the place of the one
   * given, and has the same rows where the plan lists `ffnRows`. Neither this nor `after` is asked of a decoder's last block, which
   * computes no more rows than are wanted.
   */
  between?(layer: number, stream: Stream, seen: Seen): StreamOrNone | Promise<StreamOrNone>;
  /** After the block. */
  after?(layer: number, stream: Stream, seen: Seen): StreamOrNone | Promise<StreamOrNone>;
}

type StreamOrNone = Stream | undefined;

/** Rows of a stream, ascending: from the host, or chosen on the device by an op that proves its result. */
export type RowList = Uint32Array | Tensor<'u32'>;

export interface Plan {
  /** Only these rows run the block and enter its cache: x[rows] += gate * (block(x[rows]) - x[rows]). The others pass unchanged, to the bit. */
  rows?: RowList;
  /** One factor for each of `rows`. Default 1. */
  gate?: Tensor<'f32'>;
  /** Rows that run the FFN; the others take part in attention only. Not together with `rows`. */
  ffnRows?: RowList;
  /** Keys by order that later queries do not see. Not together with rows chosen on the device. */
  hiddenKeys?: readonly HiddenKeys[];
  /** Added to the logits of every query; one number for each key of the block, those in the cache before first. */
  keyBias?: Tensor<'f32'>;
}

const ROW_LIST = field.optional(
  field.anything<RowList>('a Uint32Array or a Tensor of u32', (value) => value instanceof Uint32Array || value instanceof Tensor),
);
const TENSOR = field.optional(field.instance(Tensor) as field.Required<Tensor<'f32'>>);
export const PLAN_FIELDS: field.Fields<Plan> = {
  rows: ROW_LIST,
  gate: TENSOR,
  ffnRows: ROW_LIST,
  hiddenKeys: field.optional(field.anything('a list of [start, end, from]', Array.isArray)),
  keyBias: TENSOR,
};

/** What the attention of a block saw. The tensors live until the hook is done. */
export interface Seen {
  /** Queries, rotated [Q, H, dh]. */
  readonly q: Tensor<'f32'>;
  /** Keys, rotated [C, Hkv, dh] of which the first `keys` count, the rows of the stream last. */
  readonly k: Tensor<FloatDType>;
  /** Values, likewise. */
  readonly v: Tensor<FloatDType>;
  readonly keys: number;
  /** The attention output before its projection [Q, H * dh]. */
  readonly o: Tensor<'f32'>;
  /** Probabilities that row `row` of those that attend gives to all keys, over the heads [keys]; the caller frees them. */
  scores(row: number, reduce: 'mean' | 'sum'): Tensor<'f32'>;
}
