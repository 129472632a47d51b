import { type Backend, SIGNAL_OPTION, type SignalOption } from '../backend/backend.ts';
import { SkipVisionError } from '../backend/errors.ts';
import * as field from '../backend/fields.ts';
import type { Tensor } from '../backend/tensor.ts';
import type { Weight } from '../backend/weight.ts';
import { embedding } from '../ops/embedding.ts';
import { linear } from '../ops/linear.ts';
import type { Connector } from './connector.ts';
import type { VlmSpec } from './families/spec.ts';
import type { EncodedImage, EncodeOptions, Engine } from './engine.ts';
import { generate } from './generate.ts';
import type { GenerateOptions, GenerateResult } from './generate-options.ts';
import { type ImageInput, toImage } from './image/image.ts';
import { type PreprocessorConfig, preprocess } from './image/preprocess.ts';
import type { Decoder } from './stack/decoder.ts';
import { METHOD, type Room, type Run } from './stack/hooks.ts';
import { MATRIX, type Part, pickRows, range, type Stream } from './stack/rows.ts';
import type { Tower } from './stack/tower.ts';
import { WORK, Work } from './stack/work.ts';
import type { Tokenizer } from './text/tokenizer.ts';

const PICTURE = field.anything<ImageInput>('a picture');
const OPTIONAL_WORK = field.optional(WORK);
export const VLM_FIELDS = {
  pixels: { image: PICTURE, options: field.optional(field.record(SIGNAL_OPTION)) },
  encodeImage: {
    image: PICTURE,
    options: field.optional(field.record<EncodeOptions>({ ...SIGNAL_OPTION, method: field.optional(METHOD) })),
  },
  room: { work: WORK },
  embed: { ids: field.list(field.integer({ min: 0, max: 2 ** 32 - 1 })), work: OPTIONAL_WORK },
  logits: { hidden: MATRIX, work: OPTIONAL_WORK },
};

export interface VlmParts extends Pick<Vlm, 'backend' | 'config' | 'tokenizer' | 'tower' | 'connector' | 'decoder' | 'embeddings'> {
  preprocessor: PreprocessorConfig;
  /** Freed with the model. */
  held: Disposable;
  head: Weight;
  /** Tensors of the checkpoint that no part has taken. */
  rest: ReadonlyMap<string, { data: Float32Array; shape: readonly number[] }>;
}

/** A vision-language model on one backend. Made by `loadModel`. */
export class Vlm implements Engine, Disposable {
  readonly backend: Backend;
  readonly config: VlmSpec;
  readonly tokenizer: Tokenizer;
  readonly tower: Tower;
  readonly connector: Connector;
  readonly decoder: Decoder;
  /** Word embeddings [V, D]. */
  readonly embeddings: Tensor<'f32'>;
  readonly #parts: VlmParts;
  readonly #uploaded = new Map<string, Tensor<'f32'>>();

  /** Use `loadModel`. @internal */
  constructor(parts: VlmParts) {
    this.#parts = parts;
    this.backend = parts.backend;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.tower = parts.tower;
    this.connector = parts.connector;
    this.decoder = parts.decoder;
    this.embeddings = parts.embeddings;
  }

  /** Picture -> normalised pixels [channels, size, size] as the checkpoint's preprocessor makes them. */
  async pixels(image: ImageInput, options: SignalOption = {}): Promise<Float32Array> {
    field.checkFields('pixels', { image, options }, VLM_FIELDS.pixels);
    const { pixels, width, height } = preprocess(await toImage(image, options), this.#parts.preprocessor);
    const { imageSize } = this.config.tower;
    if (width !== imageSize || height !== imageSize) {
      const [got, expected] = [`${width}x${height}`, `${imageSize}x${imageSize}`];
      const message = `the preprocessor makes pictures of ${got}, the vision tower takes ${expected}`;
      throw new SkipVisionError('unsupported', message, { argument: 'image', got, expected });
    }
    return pixels;
  }

  /** Runs tower, connector and the method's compose on one picture. Dispose the result. */
  async encodeImage(image: ImageInput, options: EncodeOptions = {}): Promise<EncodedImage> {
    field.checkFields('encodeImage', { image, options }, VLM_FIELDS.encodeImage);
    const { method, signal } = options;
    const { channels, imageSize } = this.config.tower;
    const work = new Work(this.backend, signal);
    using pixels = this.backend.upload(await this.pixels(image, { signal }), [channels, imageSize, imageSize]);
    using run = await method?.start(this.room(work));
    const parts = await this.#compose(work, run, await this.#features(work, run, pixels));
    return {
      parts,
      method: method?.key ?? 'none',
      flops: work.flops,
      [Symbol.dispose]: () => {
        for (const part of parts) part.rows.dispose();
      },
    };
  }

  /** What a run of a method may use here. */
  room(work: Work): Room {
    field.checkFields('room', { work }, VLM_FIELDS.room);
    const { tower, decoder } = this.config;
    const depth = { tower: tower.blocks.length, decoder: decoder.blocks.length };
    return { work, depth, tensor: async (name, shape) => this.#parameter(name, shape) };
  }

  /** Rows of the word embeddings [n, D]; the caller disposes them. */
  embed(ids: readonly number[], work = new Work(this.backend)): Tensor<'f32'> {
    field.checkFields('embed', { ids, work }, VLM_FIELDS.embed);
    using list = this.backend.upload(Uint32Array.from(ids));
    const shape = [ids.length, this.embeddings.shape[1]!];
    return work.produce(shape, (y) => work.run(embedding, { table: this.embeddings, ids: list, y }, {}));
  }

  /** hidden [n, D] after the final norm -> logits [n, V]; the caller disposes them. */
  logits(hidden: Tensor<'f32'>, work = new Work(this.backend)): Tensor<'f32'> {
    field.checkFields('logits', { hidden, work }, VLM_FIELDS.logits);
    return work.produce([hidden.shape[0]!, this.config.vocabSize], (y) => work.run(linear, { x: hidden, weight: this.#parts.head, y }, {}));
  }

  /** Answers a question about one or more pictures. */
  generate(options: GenerateOptions): Promise<GenerateResult> {
    return generate(this, options);
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#uploaded.values()) tensor.dispose();
    this.#uploaded.clear();
    this.#parts.held[Symbol.dispose]();
  }

  /** Connected rows of a picture; the caller frees x. */
  async #features(work: Work, run: Run | undefined, pixels: Tensor<'f32'>): Promise<Stream> {
    const { x, rows } = await this.tower.encode(work, pixels, run?.tower);
    using hidden = x;
    const first = this.config.keepsClassRow ? 0 : rows.segments[0]?.kind === 'class' ? 1 : 0;
    const length = hidden.shape[0]!;
    return { x: this.connector.project(work, hidden.slice(first, length)), rows: pickRows(rows, range(first, length)) };
  }

  /** What a method makes of the rows, which are freed unless they are part of it. */
  async #compose(work: Work, run: Run | undefined, image: Stream): Promise<readonly Part[]> {
    if (!run?.compose) return [{ kind: 'image', rows: image.x }];
    let parts: readonly Part[] = [];
    try {
      parts = await run.compose(image);
      await work.rest(image.x.shape[0]!);
      return parts;
    } catch (error) {
      for (const { rows } of parts) rows.dispose();
      throw error;
    } finally {
      if (!parts.some(({ rows }) => rows === image.x)) image.x.dispose();
    }
  }

  #parameter(name: string, shape: readonly number[]): Tensor<'f32'> {
    const known = this.#uploaded.get(name);
    if (known) return known;
    const parameter = this.#parts.rest.get(name);
    if (!parameter || `${parameter.shape}` !== `${shape}`) {
      const got = parameter ? `[${parameter.shape}]` : 'missing';
      const expected = `[${shape}]`;
      const message = `the method needs the parameter ${name} ${expected}, which this checkpoint does not have (${got})`;
      throw new SkipVisionError('unsupported', message, { argument: name, got, expected });
    }
    const tensor = this.backend.upload(parameter.data, shape);
    this.#uploaded.set(name, tensor);
    return tensor;
  }
}
