import type { Backend, SignalOption } from '../backend/backend.ts';
import { invalidArgument, SkipVisionError } from '../backend/errors.ts';
import type { Tensor } from '../backend/tensor.ts';
import { checkWeightDType, type Weight, type WeightDType } from '../backend/weight.ts';
import { linear } from '../ops/linear.ts';
import { type Checkpoint, openCheckpoint } from './files/checkpoint.ts';
import { type LlavaConfig, parseConfig } from './families/llava-config.ts';
import { Decoder } from './stack/decoder.ts';
import { type GenerateOptions, type GenerateResult, generate } from './generate.ts';
import { type ImageInput, toImage } from './image/image.ts';
import { invalidCheckpoint, parseJson } from './files/json.ts';
import { Loader } from './stack/loader.ts';
import type { ComposeContext, Method } from './stack/method.ts';
import { type PreprocessorConfig, parsePreprocessorConfig, preprocess } from './image/preprocess.ts';
import { produce } from './stack/produce.ts';
import { Projector } from './families/projector.ts';
import { copyRows, type Part, range } from './stack/sequence.ts';
import { type LoadProgress, type ModelSource, openSource } from './files/source.ts';
import { Tokenizer } from './text/tokenizer.ts';
import { layersToRun, VisionEncoder } from './stack/vision-encoder.ts';

export interface LoadModelOptions extends SignalOption {
  backend: Backend;
  /** How the weights of linear layers are packed, one of `backend.dtypes`; default 'f32'. All other parameters stay f32. */
  dtype?: WeightDType;
  onProgress?(progress: LoadProgress): void;
}

/** An image as a method lets it enter the sequence. Made once, usable for many questions with the same method. */
export interface EncodedImage extends Disposable {
  readonly parts: readonly Part[];
  /** Name of the method that composed it. */
  readonly method: string;
}

/** Names of a checkpoint's parts: as LLaVA was published, and as newer Hugging Face releases write it. */
const LAYOUTS = [
  {
    vision: 'vision_tower.vision_model.',
    projector: 'multi_modal_projector.',
    decoder: 'language_model.model.',
    head: 'language_model.lm_head.weight',
  },
  {
    vision: 'model.vision_tower.vision_model.',
    projector: 'model.multi_modal_projector.',
    decoder: 'model.language_model.',
    head: 'lm_head.weight',
  },
] as const;

interface VlmParts {
  backend: Backend;
  config: LlavaConfig;
  preprocessor: PreprocessorConfig;
  tokenizer: Tokenizer;
  encoder: VisionEncoder;
  projector: Projector;
  decoder: Decoder;
  loader: Loader;
  embeddings: Tensor<'f32'>;
  head: Weight;
  parameters: ReadonlyMap<string, { data: Float32Array; shape: readonly number[] }>;
}

/** A LLaVA-style vision-language model on one backend. Made by `loadModel`. */
export class Vlm implements Disposable {
  readonly backend: Backend;
  readonly config: LlavaConfig;
  readonly tokenizer: Tokenizer;
  readonly encoder: VisionEncoder;
  readonly projector: Projector;
  readonly decoder: Decoder;
  /** Word embeddings [V, D]. */
  readonly embeddings: Tensor<'f32'>;
  readonly #parts: VlmParts;
  readonly #uploaded = new Map<string, Tensor<'f32'>>();

  /** Use `loadModel`. */
  constructor(parts: VlmParts) {
    this.#parts = parts;
    this.backend = parts.backend;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.encoder = parts.encoder;
    this.projector = parts.projector;
    this.decoder = parts.decoder;
    this.embeddings = parts.embeddings;
  }

  /** Picture -> normalised pixels [channels, size, size] as the checkpoint's preprocessor makes them. */
  async pixels(image: ImageInput, options: SignalOption = {}): Promise<Float32Array> {
    const { pixels, width, height } = preprocess(await toImage(image, options), this.#parts.preprocessor);
    const { imageSize } = this.config.vision;
    if (width !== imageSize || height !== imageSize) {
      throw new SkipVisionError(
        'unsupported',
        `the preprocessor makes pictures of ${width}x${height}, the vision tower takes ${imageSize}x${imageSize}`,
        {
          argument: 'image',
          got: `${width}x${height}`,
          expected: `${imageSize}x${imageSize}`,
        },
      );
    }
    return pixels;
  }

  /** Runs encoder, projector and the method's compose on one picture. Dispose the result. */
  async encodeImage(image: ImageInput, options: SignalOption & { method?: Method } = {}): Promise<EncodedImage> {
    const { backend, config } = this;
    const { method, signal } = options;
    const { numChannels, imageSize } = config.vision;
    using pixels = backend.upload(await this.pixels(image, { signal }), [numChannels, imageSize, imageSize]);
    const encoded = await this.encoder.encode(pixels, { clsScores: method?.encoder?.clsScores, signal });
    using hidden = encoded.hidden;
    using clsScores = encoded.clsScores;
    const first = config.visionFeatureSelectStrategy === 'default' ? 1 : 0;
    using features = copyRows(backend, hidden, range(first, hidden.shape[0]!));
    const rows = this.projector.project(features);
    let parts: Part[] = [{ kind: 'image', rows }];
    if (method?.compose) {
      using projected = rows;
      parts = await method.compose({ rows: projected, clsScores }, this.#context(signal));
    }
    return {
      parts,
      method: method?.name ?? 'none',
      [Symbol.dispose]: () => {
        for (const part of parts) part.rows.dispose();
      },
    };
  }

  /** Rows of the word embeddings [n, D]; the caller disposes them. */
  embed(ids: readonly number[]): Tensor<'f32'> {
    return copyRows(this.backend, this.embeddings, Uint32Array.from(ids));
  }

  /** hidden [n, D] after the final norm -> logits [n, V]; the caller disposes them. */
  logits(hidden: Tensor<'f32'>): Tensor<'f32'> {
    const shape = [hidden.shape[0]!, this.config.text.vocabSize];
    return produce(this.backend, shape, (y) => this.backend.run(linear, { x: hidden, weight: this.#parts.head, y }, {}));
  }

  /** Answers a question about one or more pictures. */
  generate(options: GenerateOptions): Promise<GenerateResult> {
    return generate(this, options);
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#uploaded.values()) tensor.dispose();
    this.#uploaded.clear();
    for (const part of [this.encoder, this.projector, this.decoder, this.#parts.loader]) part[Symbol.dispose]();
  }

  #context(signal: AbortSignal | undefined): ComposeContext {
    return { backend: this.backend, signal, parameter: (name, shape) => this.#parameter(name, shape) };
  }

  #parameter(name: string, shape: readonly number[]): Tensor<'f32'> {
    const known = this.#uploaded.get(name);
    if (known) return known;
    const parameter = this.#parts.parameters.get(name);
    if (!parameter || `${parameter.shape}` !== `${shape}`) {
      const got = parameter ? `[${parameter.shape}]` : 'missing';
      throw new SkipVisionError(
        'unsupported',
        `the method needs the parameter ${name} [${shape}], which this checkpoint does not have (${got})`,
        {
          argument: name,
          got,
          expected: `[${shape}]`,
        },
      );
    }
    const tensor = this.backend.upload(parameter.data, shape);
    this.#uploaded.set(name, tensor);
    return tensor;
  }
}

/**
 * Loads a Hugging Face LLaVA-style folder: config.json, model.safetensors (or shards with an index), tokenizer.json,
 * tokenizer_config.json, preprocessor_config.json.
 * @throws `invalid-checkpoint` naming file and tensor, `unsupported` for models of another kind and a dtype that the backend lacks.
 */
export async function loadModel(source: ModelSource, options: LoadModelOptions): Promise<Vlm> {
  const { backend, dtype = 'f32', signal } = options;
  if (typeof backend?.run !== 'function')
    throw invalidArgument('loadModel', 'backend', String(backend), 'a Backend, e.g. of selectBackend');
  checkWeightDType(backend, 'loadModel', dtype);
  const files = openSource(source, options);
  const json = async (name: string) => parseJson(await files.read(name), name);
  const config = parseConfig(await json('config.json'));
  const preprocessor = parsePreprocessorConfig(await json('preprocessor_config.json'));
  const tokenizerConfig = (await files.has('tokenizer_config.json')) ? await json('tokenizer_config.json') : {};
  const tokenizer = new Tokenizer(await json('tokenizer.json'), tokenizerConfig);
  const checkpoint = await openCheckpoint(files);
  signal?.throwIfAborted();

  const layout = LAYOUTS.find(({ decoder }) => checkpoint.has(`${decoder}embed_tokens.weight`)) ?? LAYOUTS[0];
  const { vision, text } = config;
  const packing = { dtype, signal };
  const made: Disposable[] = [];
  const keep = <T extends Disposable>(part: T): T => {
    made.push(part);
    return part;
  };
  try {
    const loader = keep(new Loader(backend, checkpoint, packing));
    const embedName = `${layout.decoder}embed_tokens.weight`;
    const blocks = layersToRun(config.visionFeatureLayer, vision.numLayers);
    const projectorConfig = { visionSize: vision.hiddenSize, hiddenSize: text.hiddenSize, activation: config.projectorHiddenAct };
    const model = new Vlm({
      backend,
      config,
      preprocessor,
      tokenizer,
      loader,
      embeddings: loader.vector(embedName, [text.vocabSize, text.hiddenSize]),
      head: await loader.weight(text.tieWordEmbeddings ? embedName : layout.head, text.vocabSize, text.hiddenSize),
      encoder: keep(await VisionEncoder.load(backend, checkpoint, vision, blocks, layout.vision, packing)),
      projector: keep(await Projector.load(backend, checkpoint, projectorConfig, layout.projector, packing)),
      decoder: keep(await Decoder.load(backend, checkpoint, text, layout.decoder, packing)),
      parameters: methodParameters(checkpoint),
    });
    checkNothingLeft(checkpoint, layout, config);
    signal?.throwIfAborted();
    return model;
  } catch (error) {
    for (const part of made) part[Symbol.dispose]();
    throw error;
  }
}

/** Names of parameters that methods bring along, and of heads that only training uses. */
const METHOD_PREFIX = 'skip_vision.';
const TRAINING_PREFIX = 'vision_aux.';

/** A tensor that no part asked for means that config.json describes another model: its answers would be wrong. */
function checkNothingLeft(checkpoint: Checkpoint, layout: (typeof LAYOUTS)[number], { vision }: LlavaConfig): void {
  const tiedHead = layout.head; // written out by some, though it equals the embeddings
  const extra = checkpoint.unused().filter((name) => name !== tiedHead && !isKnownExtra(name, layout.vision, vision.numLayers));
  if (extra.length === 0) return;
  const named = extra.slice(0, 8).join(', ') + (extra.length > 8 ? ` and ${extra.length - 8} more` : '');
  throw invalidCheckpoint(
    'checkpoint',
    extra[0]!,
    `there, with ${extra.length} tensor(s) that config.json has no place for: ${named}`,
    'no such tensor',
  );
}

/** What checkpoints hold beyond what inference needs: vision blocks behind the feature layer, and tables that older releases stored. */
function isKnownExtra(name: string, visionPrefix: string, visionLayers: number): boolean {
  if (name.startsWith(TRAINING_PREFIX) || /\.(position_ids|rotary_emb\.inv_freq)$/.test(name)) return true;
  if (!name.startsWith(visionPrefix)) return false;
  const rest = name.slice(visionPrefix.length);
  const block = /^encoder\.layers\.(\d+)\./.exec(rest);
  return rest.startsWith('post_layernorm.') || (block !== null && Number(block[1]) < visionLayers);
}

/** What methods bring along; copied, so that the files' bytes can be freed. */
function methodParameters(checkpoint: Checkpoint): VlmParts['parameters'] {
  const parameters = new Map<string, { data: Float32Array; shape: readonly number[] }>();
  for (const name of checkpoint.names.filter((each) => each.startsWith(METHOD_PREFIX))) {
    const shape = checkpoint.shape(name);
    parameters.set(name, { data: checkpoint.tensor(name, shape).slice(), shape });
  }
  return parameters;
}
