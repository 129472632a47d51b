import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import type { Activation } from '../../ops/activation.ts';
import { linear } from '../../ops/linear.ts';
import { produce } from '../stack/produce.ts';
import { Loader, type LoaderOptions, type Projection, type TensorSource } from '../stack/loader.ts';

/** LLaVA's mlp2x projector: vision features into the decoder's embedding space. (LLaVA-1.5, arXiv 2310.03744) */
export class Projector implements Disposable {
  readonly #loader: Loader;
  readonly #first: Projection;
  readonly #second: Projection;
  readonly #activation: Activation;

  private constructor(loader: Loader, first: Projection, second: Projection, activation: Activation) {
    this.#loader = loader;
    this.#first = first;
    this.#second = second;
    this.#activation = activation;
  }

  /** Packs `linear_1` [D, visionSize] and `linear_2` [D, D] (names after `prefix`). */
  static async load(
    backend: Backend,
    source: TensorSource,
    config: { visionSize: number; hiddenSize: number; activation: Activation },
    prefix: string,
    options: LoaderOptions = {},
  ): Promise<Projector> {
    const loader = new Loader(backend, source, options);
    try {
      const first = await loader.projection(`${prefix}linear_1`, config.hiddenSize, config.visionSize);
      const second = await loader.projection(`${prefix}linear_2`, config.hiddenSize, config.hiddenSize);
      return new Projector(loader, first, second, config.activation);
    } catch (error) {
      loader[Symbol.dispose]();
      throw error;
    }
  }

  /** features [n, visionSize] -> [n, D]; the caller disposes the result. */
  project(features: Tensor<'f32'>): Tensor<'f32'> {
    const { backend } = this.#loader;
    const shape = [features.shape[0]!, this.#second.weight.shape[0]];
    using inner = produce(backend, shape, (y) => {
      backend.run(linear, { x: features, ...this.#first, y }, { activation: this.#activation });
    });
    return produce(backend, shape, (y) => backend.run(linear, { x: inner, ...this.#second, y }, {}));
  }

  [Symbol.dispose](): void {
    this.#loader[Symbol.dispose]();
  }
}
