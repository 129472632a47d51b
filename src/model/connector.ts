import type { Tensor } from '../backend/tensor.ts';
import { linear } from '../ops/linear.ts';
import type { ConnectorSpec } from './families/spec.ts';
import type { Loader, Projection } from './stack/loader.ts';
import type { Work } from './stack/work.ts';

/** Two linear layers from the tower's features into the decoder's embedding space. (LLaVA-1.5, arXiv 2310.03744) */
export class Connector {
  readonly #spec: ConnectorSpec;
  readonly #layers: readonly [first: Projection, second: Projection];

  private constructor(spec: ConnectorSpec, layers: readonly [first: Projection, second: Projection]) {
    this.#spec = spec;
    this.#layers = layers;
  }

  /** Packs [outputs, inputs] and [outputs, outputs], which are freed with the loader. @internal */
  static async load(loader: Loader, spec: ConnectorSpec): Promise<Connector> {
    const { inputs, outputs, names } = spec;
    const first = await loader.projection(names[0], outputs, inputs);
    return new Connector(spec, [first, await loader.projection(names[1], outputs, outputs)]);
  }

  /** features [n, inputs] -> [n, outputs]; the caller frees the result. */
  project(work: Work, features: Tensor<'f32'>): Tensor<'f32'> {
    const { activation, outputs } = this.#spec;
    const [first, second] = this.#layers;
    const shape = [features.shape[0]!, outputs];
    using inner = work.produce(shape, (y) => work.run(linear, { x: features, ...first, y }, { activation }));
    return work.produce(shape, (y) => work.run(linear, { x: inner, ...second, y }, {}));
  }
}
