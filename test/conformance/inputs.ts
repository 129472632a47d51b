/** Inputs of a case in a backend's memory, and its results back again. Everything made is freed with `dispose`. */
import type { Backend } from '../../src/backend/backend.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import type { Matrix, Weight } from '../../src/backend/weight.ts';
import type { Array32, Arrays } from './case.ts';

export class CaseInputs {
  readonly backend: Backend;
  readonly #arrays: Arrays;
  readonly #made: { dispose(): void }[] = [];

  constructor(backend: Backend, arrays: Arrays) {
    this.backend = backend;
    this.#arrays = arrays;
  }

  array(name: string): Array32 {
    const array = this.#arrays[name];
    if (!array) throw new Error(`the case has no input ${name}`);
    return array;
  }

  has(name: string): boolean {
    return name in this.#arrays;
  }

  shape(name: string): readonly number[] {
    return this.array(name).shape;
  }

  u32(name: string): Uint32Array {
    const { data } = this.array(name);
    if (!(data instanceof Uint32Array)) throw new Error(`the input ${name} is no U32`);
    return data;
  }

  f32(name: string): Float32Array {
    const { data } = this.array(name);
    if (!(data instanceof Float32Array)) throw new Error(`the input ${name} is no F32`);
    return data;
  }

  /** The input as a tensor, in its own or another shape of the same size. */
  tensor(name: string, shape = this.shape(name)): Tensor<'f32'> {
    return this.#keep(this.backend.upload(this.f32(name), shape));
  }

  optional(name: string, shape?: readonly number[]): Tensor<'f32'> | undefined {
    return this.#arrays[name] ? this.tensor(name, shape) : undefined;
  }

  list(name: string): Tensor<'u32'> {
    return this.#keep(this.backend.upload(this.u32(name)));
  }

  upload(data: Float32Array, shape: readonly number[]): Tensor<'f32'> {
    return this.#keep(this.backend.upload(data, shape));
  }

  empty(...shape: number[]): Tensor<'f32'> {
    return this.#keep(this.backend.empty({ dtype: 'f32', shape }));
  }

  emptyList(length: number): Tensor<'u32'> {
    return this.#keep(this.backend.empty({ dtype: 'u32', shape: [length] }));
  }

  async weight(name: string): Promise<Weight> {
    return this.#keep(await this.backend.pack(this.#matrix(name)));
  }

  async gatedWeight(gate: string, up: string): Promise<Weight> {
    return this.#keep(await this.backend.pack({ gate: this.#matrix(gate), up: this.#matrix(up) }));
  }

  async read(tensor: Tensor<'f32' | 'u32'>, shape: readonly number[] = tensor.shape): Promise<Array32> {
    return { data: await this.backend.read(tensor), shape };
  }

  dispose(): void {
    for (const held of this.#made) held.dispose();
  }

  #matrix(name: string): Matrix {
    return { data: this.f32(name), shape: this.shape(name) as [number, number] };
  }

  #keep<T extends { dispose(): void }>(held: T): T {
    this.#made.push(held);
    return held;
  }
}
