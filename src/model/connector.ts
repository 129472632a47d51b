import type { Tensor } from '../backend/tensor.ts';
import { linear } from '../ops/linear.ts';
import type { ConnectorSpec } from './families/spec.ts';
import type { Loader } from './stack/loader.ts';
import type { Work } from './stack/work.ts';

/** Two linear layers from the tower's features into the decoder's embedding space. (LLaVA-1.5, arXiv 2310.03744) */
export interface Connector {
  /** features [n, inputs] -> [n, outputs]; the caller frees the result. */
  project(work: Work, features: Tensor<'f32'>): Tensor<'f32'>;
}

/** Packs [outputs, inputs] and [outputs, outputs], which are freed with the loader. */
export async function loadConnector(loader: Loader, { inputs, outputs, activation, names }: ConnectorSpec): Promise<Connector> {
  const first = await loader.projection(names[0], outputs, inputs);
  const second = await loader.projection(names[1], outputs, outputs);
  return {
    project(work, features) {
      const shape = [features.shape[0]!, outputs];
      using inner = work.produce(shape, (y) => work.run(linear, { x: features, ...first, y }, { activation }));
      return work.produce(shape, (y) => work.run(linear, { x: inner, ...second, y }, {}));
    },
  };
}
