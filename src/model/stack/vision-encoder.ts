import type { Backend, SignalOption } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';
import type { Weight } from '../../backend/weight.ts';
import { attention } from '../../ops/attention.ts';
import { attentionScores } from '../../ops/attention-scores.ts';
import { gatheredFfn } from '../../ops/gathered-ffn.ts';
import { layerNorm } from '../../ops/layer-norm.ts';
import { linear } from '../../ops/linear.ts';
import { patchEmbedding } from '../../ops/patch-embedding.ts';
import type { VisionConfig } from '../families/llava-config.ts';
import { Loader, type LoaderOptions, type Projection, type TensorSource } from './loader.ts';
import { produce } from './produce.ts';
import { range } from './sequence.ts';

export interface EncodeOptions extends SignalOption {
  /** Also compute the CLS row's attention in the last layer that runs. */
  clsScores?: boolean;
}

export interface Encoded {
  /** Hidden states of the last layer that ran [1 + N, D], row 0 is CLS. */
  hidden: Tensor<'f32'>;
  /** Attention probabilities of the CLS row, summed over heads [1 + N]. */
  clsScores?: Tensor<'f32'>;
}

/** A CLIP-style ViT: class row, learned positions, pre-norm layers. Holds only the layers it was loaded with. */
export class VisionEncoder implements Disposable {
  readonly backend: Backend;
  readonly config: VisionConfig;
  readonly #loader: Loader;
  readonly #input: InputLayer;
  readonly #layers: readonly EncoderLayer[];

  private constructor(config: VisionConfig, loader: Loader, input: InputLayer, layers: readonly EncoderLayer[]) {
    this.backend = loader.backend;
    this.config = config;
    this.#loader = loader;
    this.#input = input;
    this.#layers = layers;
  }

  /** Packs the first `layers` blocks of a Hugging Face CLIP vision model (names after `prefix`). */
  static async load(
    backend: Backend,
    source: TensorSource,
    config: VisionConfig,
    layers: number,
    prefix: string,
    options: LoaderOptions = {},
  ): Promise<VisionEncoder> {
    const loader = new Loader(backend, source, options);
    try {
      const input = await loadInput(loader, config, prefix);
      const blocks: EncoderLayer[] = [];
      for (let i = 0; i < layers; i++) blocks.push(await loadLayer(loader, config, `${prefix}encoder.layers.${i}.`));
      return new VisionEncoder(config, loader, input, blocks);
    } catch (error) {
      loader[Symbol.dispose]();
      throw error;
    }
  }

  /** pixels [channels, height, width], normalised. The caller disposes the result. */
  async encode(pixels: Tensor<'f32'>, options: EncodeOptions = {}): Promise<Encoded> {
    const { backend, config } = this;
    const rows = 1 + (config.imageSize / config.patchSize) ** 2;
    const shape = [rows, config.hiddenSize];
    using embedded = backend.empty({ dtype: 'f32', shape });
    const { weight, bias, classEmbedding, positionEmbedding } = this.#input;
    backend.run(patchEmbedding, { pixels, weight, bias, classEmbedding, positionEmbedding, y: embedded }, { patchSize: config.patchSize });

    const hidden = backend.empty({ dtype: 'f32', shape });
    let clsScores: Tensor<'f32'> | undefined;
    try {
      norm(backend, this.#input.norm, embedded, hidden, config.layerNormEps);
      using positions = backend.upload(range(0, rows));
      for (const [index, layer] of this.#layers.entries()) {
        const wantsScores = options.clsScores && index === this.#layers.length - 1;
        clsScores = runLayer(backend, config, layer, hidden, positions, wantsScores);
        await backend.flush({ signal: options.signal });
      }
      return { hidden, clsScores };
    } catch (error) {
      hidden.dispose();
      clsScores?.dispose();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#loader[Symbol.dispose]();
  }
}

/** The block whose output `hidden_states[featureLayer]` is, counted from 1: how many blocks must run. */
export function layersToRun(featureLayer: number, numLayers: number): number {
  return featureLayer < 0 ? numLayers + 1 + featureLayer : featureLayer;
}

interface Norm {
  weight: Tensor<'f32'>;
  bias?: Tensor<'f32'>;
}

interface InputLayer {
  weight: Weight;
  bias?: Tensor<'f32'>;
  classEmbedding: Tensor<'f32'>;
  positionEmbedding: Tensor<'f32'>;
  norm: Norm;
}

interface EncoderLayer {
  norm1: Norm;
  q: Projection;
  k: Projection;
  v: Projection;
  out: Projection;
  norm2: Norm;
  fc1: Projection;
  fc2: Projection;
}

async function loadInput(loader: Loader, config: VisionConfig, prefix: string): Promise<InputLayer> {
  const { hiddenSize: D, numChannels, patchSize, imageSize } = config;
  const kernel = loader.source.tensor(`${prefix}embeddings.patch_embedding.weight`, [D, numChannels, patchSize, patchSize]);
  return {
    weight: await loader.pack({ data: kernel, shape: [D, numChannels * patchSize ** 2] }, 'f32'),
    bias: loader.optionalVector(`${prefix}embeddings.patch_embedding.bias`, [D]),
    classEmbedding: loader.vector(`${prefix}embeddings.class_embedding`, [D]),
    positionEmbedding: loader.vector(`${prefix}embeddings.position_embedding.weight`, [1 + (imageSize / patchSize) ** 2, D]),
    norm: loadNorm(loader, `${prefix}pre_layrnorm`, D), // sic: Hugging Face's spelling
  };
}

async function loadLayer(loader: Loader, { hiddenSize: D, intermediateSize: M }: VisionConfig, prefix: string): Promise<EncoderLayer> {
  return {
    norm1: loadNorm(loader, `${prefix}layer_norm1`, D),
    q: await loader.projection(`${prefix}self_attn.q_proj`, D, D),
    k: await loader.projection(`${prefix}self_attn.k_proj`, D, D),
    v: await loader.projection(`${prefix}self_attn.v_proj`, D, D),
    out: await loader.projection(`${prefix}self_attn.out_proj`, D, D),
    norm2: loadNorm(loader, `${prefix}layer_norm2`, D),
    fc1: await loader.projection(`${prefix}mlp.fc1`, M, D),
    fc2: await loader.projection(`${prefix}mlp.fc2`, D, M),
  };
}

function loadNorm(loader: Loader, name: string, D: number): Norm {
  return { weight: loader.vector(`${name}.weight`, [D]), bias: loader.optionalVector(`${name}.bias`, [D]) };
}

function norm(backend: Backend, { weight, bias }: Norm, x: Tensor<'f32'>, y: Tensor<'f32'>, eps: number): void {
  backend.run(layerNorm, { x, weight, bias, y }, { eps });
}

/** One block, in place on hidden [1 + N, D]. Returns the CLS scores when asked for. */
function runLayer(
  backend: Backend,
  config: VisionConfig,
  layer: EncoderLayer,
  hidden: Tensor<'f32'>,
  positions: Tensor<'u32'>,
  wantsScores: boolean | undefined,
): Tensor<'f32'> | undefined {
  const { shape } = hidden;
  const headDim = config.hiddenSize / config.numHeads;
  const perHead = [shape[0]!, config.numHeads, headDim];
  const scale = headDim ** -0.5;
  const empty = () => backend.empty({ dtype: 'f32', shape });
  using normed = empty();
  using q = empty();
  using k = empty();
  using v = empty();
  using o = empty();
  norm(backend, layer.norm1, hidden, normed, config.layerNormEps);
  backend.run(linear, { x: normed, ...layer.q, y: q }, {});
  backend.run(linear, { x: normed, ...layer.k, y: k }, {});
  backend.run(linear, { x: normed, ...layer.v, y: v }, {});
  backend.run(
    attention,
    { q: q.view(perHead), k: k.view(perHead), v: v.view(perHead), qPositions: positions, kPositions: positions, o: o.view(perHead) },
    { scale, causal: false },
  );
  // row 0 of q is the CLS query
  const cls = q.view([config.numHeads, headDim]);
  const attrs = { qPosition: 0, causal: false, scale, reduce: 'sum' } as const;
  const scores = wantsScores
    ? produce(backend, [shape[0]!], (y) =>
        backend.run(attentionScores, { q: cls, k: k.view(perHead), kPositions: positions, scores: y }, attrs),
      )
    : undefined;
  backend.run(linear, { x: o, ...layer.out, y: hidden }, { accumulate: true });
  const { fc1, fc2, norm2 } = layer;
  backend.run(
    gatheredFfn,
    { x: hidden, normWeight: norm2.weight, normBias: norm2.bias, up: fc1.weight, upBias: fc1.bias, down: fc2.weight, downBias: fc2.bias },
    { activation: config.hiddenAct, norm: 'layer', eps: config.layerNormEps },
  );
  return scores;
}
