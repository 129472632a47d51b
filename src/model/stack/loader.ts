import { type Backend, SIGNAL_OPTION, type SignalOption } from '../../backend/backend.ts';
import * as field from '../../backend/fields.ts';
import type { Tensor } from '../../backend/tensor.ts';
import type { Matrix, Weight, WeightDType, WeightSource } from '../../backend/weight.ts';
import { Scope } from './work.ts';

/** Named float tensors: a checkpoint, or tensors in memory. */
export interface TensorSource {
  has(name: string): boolean;
  /** Row-major f32; throws when missing or of another shape. */
  tensor(name: string, shape: readonly number[]): Float32Array;
}

export interface LoaderOptions extends SignalOption {
  /** How the weights of linear layers are packed, one of `backend.dtypes`; default 'f32'. All other parameters stay f32. */
  dtype?: WeightDType;
}

/** Which dtypes there are depends on the backend. */
export const PACKING = { ...SIGNAL_OPTION, dtype: field.optional(field.text as field.Required<WeightDType>) };
export const TENSOR_SOURCE = field.anything<TensorSource>('a TensorSource, e.g. a Checkpoint', (value) => {
  const { has, tensor } = (value ?? {}) as Partial<TensorSource>;
  return typeof has === 'function' && typeof tensor === 'function';
});

/** Bytes packed between two chances for other tasks of this thread, an abort among them. */
const FLUSH_BYTES = 1 << 20;

/** Brings parameters of a source to a backend; they are freed with it. */
export class Loader extends Scope {
  readonly backend: Backend;
  readonly source: TensorSource;
  readonly #options: LoaderOptions;
  #sinceFlush = 0;

  /** Names of tensors are those of the source without `prefix`. */
  constructor(backend: Backend, source: TensorSource, options: LoaderOptions = {}, prefix = '') {
    super();
    this.backend = backend;
    this.source = prefix === '' ? source : prefixed(source, prefix);
    this.#options = options;
  }

  /** `name.weight` and, of a LayerNorm where there is one, `name.bias`, each [D]. */
  norm(name: string, D: number, kind: 'rms' | 'layer' = 'layer'): { weight: Tensor<'f32'>; bias?: Tensor<'f32'> } {
    const bias = kind === 'layer' ? this.optionalVector(`${name}.bias`, [D]) : undefined;
    return { weight: this.vector(`${name}.weight`, [D]), bias };
  }

  vector(name: string, shape: readonly number[]): Tensor<'f32'> {
    return this.keep(this.backend.upload(this.source.tensor(name, shape), shape));
  }

  optionalVector(name: string, shape: readonly number[]): Tensor<'f32'> | undefined {
    return this.source.has(name) ? this.vector(name, shape) : undefined;
  }

  /** A matrix [N, K], or with `gate` a gate and up pair of these. */
  async weight(name: string, N: number, K: number, gate?: string): Promise<Weight> {
    const matrix = (each: string): Matrix => ({ data: this.source.tensor(each, [N, K]), shape: [N, K] });
    return this.pack(gate === undefined ? matrix(name) : { gate: matrix(gate), up: matrix(name) });
  }

  async pack(source: WeightSource, dtype = this.#options.dtype): Promise<Weight> {
    const { signal } = this.#options;
    const weight = this.keep(await this.backend.pack(source, { dtype, signal }));
    this.#sinceFlush += weight.bytes;
    if (this.#sinceFlush > FLUSH_BYTES) {
      this.#sinceFlush = 0;
      await this.backend.flush({ signal });
    }
    return weight;
  }

  /** `name.weight` [N, K] and, where there is one, `name.bias` [N]. */
  async projection(name: string, N: number, K: number): Promise<Projection> {
    return { weight: await this.weight(`${name}.weight`, N, K), bias: this.optionalVector(`${name}.bias`, [N]) };
  }

  /** Projections of [N, K] each as one: their outputs side by side, [2 N, K] of two. */
  async stacked(names: readonly string[], N: number, K: number): Promise<Projection> {
    const data = concat(names.map((name) => this.source.tensor(`${name}.weight`, [N, K])));
    const rows = names.length * N;
    const weight = await this.pack({ data, shape: [rows, K] });
    const biases = names.map((name) => `${name}.bias`);
    if (!biases.some((name) => this.source.has(name))) return { weight };
    const values = biases.map((name) => (this.source.has(name) ? this.source.tensor(name, [N]) : new Float32Array(N)));
    return { weight, bias: this.keep(this.backend.upload(concat(values), [rows])) };
  }
}

function prefixed(source: TensorSource, prefix: string): TensorSource {
  return { has: (name) => source.has(prefix + name), tensor: (name, shape) => source.tensor(prefix + name, shape) };
}

function concat(arrays: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}

/** Operands of a linear layer. */
export interface Projection {
  weight: Weight;
  bias?: Tensor<'f32'>;
}
