import type { Backend, SignalOption } from '../backend/backend.ts';
import { invalidArgument, SkipVisionError } from '../backend/errors.ts';
import { bytesOf, type FloatDType, type Tensor } from '../backend/tensor.ts';
import { argmax } from '../ops/argmax.ts';
import type { ImageInput } from './image/image.ts';
import { KvCache, rowsOutside } from './stack/kv-cache.ts';
import type { Method } from './stack/method.ts';
import { makeSampler, type Sampler, type SamplingOptions } from './text/sampling.ts';
import { assemble, type Part, range, type Sequence } from './stack/sequence.ts';
import type { EncodedImage, Vlm } from './vlm.ts';

export interface GenerateOptions extends SignalOption, SamplingOptions {
  /** Put into the model's prompt template. Either this or `prompt`. */
  question?: string;
  /** A whole prompt with one `<image>` token for each image. */
  prompt?: string;
  /** One picture, or one for each `<image>` of the prompt; `encodeImage` results save the work for further questions. */
  image?: ImageInput | EncodedImage | readonly (ImageInput | EncodedImage)[];
  method?: Method;
  /** Default 64; less where the context ends. */
  maxTokens?: number;
  /** Token ids that end the answer besides the model's own. */
  stopTokens?: readonly number[];
  /** Prompt rows per pass through the layers. Default: all at once. */
  chunkSize?: number;
  /** What keys and values are stored as: 'f16' halves the cache and rounds them. Default 'f32'. */
  kvDtype?: FloatDType;
  /** Called for every token of the answer with the text so far. */
  onToken?(token: { id: number; text: string }): void;
  /** Sees the logits [V] that produced each token. */
  onLogits?(logits: Float32Array, step: number): void;
}

export interface GenerateResult {
  text: string;
  /** Generated ids, the stop token included. */
  ids: number[];
  finishReason: 'stop' | 'length';
  stats: GenerateStats;
}

export interface GenerateStats {
  backend: string;
  method: string;
  /** Rows of the prompt that take part in attention. */
  promptRows: number;
  /** Rows of the prompt that run the FFN in every layer but the last, which computes what the answer needs. */
  ffnRows: number;
  generatedTokens: number;
  /** Keys and values of the whole prompt. */
  kvBytesBefore: number;
  /** Keys and values held when decoding starts. */
  kvBytesAfter: number;
  /** Counted from the ops that ran on the backend meanwhile, 2 per multiply-add: calls at the same time count each other's. */
  encodeFlops: number;
  prefillFlops: number;
  decodeFlops: number;
  encodeMs: number;
  prefillMs: number;
  decodeMs: number;
  /** 0 when the first token ended the answer. */
  decodeMsPerToken: number;
}

const DEFAULT_TEMPLATE = 'USER: <image>\n{question} ASSISTANT:'; // LLaVA-1.5's own

export async function generate(model: Vlm, options: GenerateOptions): Promise<GenerateResult> {
  const { backend, config } = model;
  const { method, signal } = options;
  signal?.throwIfAborted();
  checkOptions(options);
  const sampler = makeSampler(options);
  const promptIds = tokenizePrompt(model, options);
  const maxTokens = options.maxTokens ?? 64;

  using meter = new Meter(backend);
  const images = await encodeImages(model, options);
  try {
    const encode = meter.lap();
    const sequence = composeSequence(model, promptIds, images.encoded);
    using embeds = sequence.embeds;
    const room = config.text.maxPositions - embeds.shape[0]!;
    if (room < 1) throw contextExceeded(embeds.shape[0]!, config.text.maxPositions);
    const limit = Math.min(maxTokens, room);

    using cache = makeCache(model, sequence, options, limit);
    using hidden = await model.decoder.prefill(sequence, { cache, method, chunkSize: options.chunkSize, signal });
    shrink(cache, limit);
    const kvBytesAfter = cache.bytes;
    const answer = new Answer(model, options, sampler);
    await answer.take(hidden);
    const prefill = meter.lap();

    while (!answer.ended && answer.ids.length < limit) {
      using row = model.embed([answer.ids.at(-1)!]);
      using next = await model.decoder.decode(row, cache, { signal });
      await answer.take(next);
    }
    const decode = meter.lap();
    const steps = answer.ids.length - 1;
    return {
      text: answer.text,
      ids: answer.ids,
      finishReason: answer.ended ? 'stop' : 'length',
      stats: {
        backend: backend.name,
        method: method?.name ?? 'none',
        promptRows: sequence.positions.length,
        ffnRows: method?.layer?.(0, sequence).ffnRows?.length ?? sequence.positions.length,
        generatedTokens: answer.ids.length,
        kvBytesBefore: kvBytes(model, sequence.positions.length, options.kvDtype),
        kvBytesAfter,
        encodeFlops: encode.flops,
        prefillFlops: prefill.flops,
        decodeFlops: decode.flops,
        encodeMs: encode.ms,
        prefillMs: prefill.ms,
        decodeMs: decode.ms,
        decodeMsPerToken: steps > 0 ? decode.ms / steps : 0,
      },
    };
  } finally {
    for (const image of images.own) image[Symbol.dispose]();
  }
}

/** What types alone do not keep out of JavaScript. */
function checkOptions({
  method,
  question,
  prompt,
  image,
  maxTokens = 1,
  chunkSize = 1,
  stopTokens = [],
  kvDtype = 'f32',
}: GenerateOptions): void {
  const refuse = (argument: string, got: unknown, expected: string): never => {
    throw invalidArgument('generate', argument, typeof got === 'string' ? `"${got}"` : String(got), expected);
  };
  if (method !== undefined && (typeof method !== 'object' || method === null))
    refuse('method', method, 'a Method, e.g. of methodByName or skipVision');
  for (const [argument, text] of Object.entries({ question, prompt }))
    if (text !== undefined && typeof text !== 'string') refuse(argument, text, 'a string');
  if (image === null) refuse('image', image, 'a picture, or nothing');
  for (const [argument, count] of Object.entries({ maxTokens, chunkSize })) {
    if (!Number.isInteger(count) || count < 1) refuse(argument, count, 'a positive integer');
  }
  if (kvDtype !== 'f32' && kvDtype !== 'f16') refuse('kvDtype', kvDtype, 'f32 or f16');
  if (!Array.isArray(stopTokens) || !stopTokens.every(Number.isInteger)) refuse('stopTokens', stopTokens, 'a list of token ids');
}

/** Prompt text -> ids, one image token for each picture. */
function tokenizePrompt({ config, tokenizer }: Vlm, options: GenerateOptions): number[] {
  const { question, prompt } = options;
  if ((question === undefined) === (prompt === undefined))
    throw invalidArgument('generate', 'question', 'given with prompt, or neither', 'either question or prompt');
  if (question !== undefined && question.trim() === '') throw invalidArgument('generate', 'question', 'empty', 'some text');
  const ids = tokenizer.encode(prompt ?? (config.promptTemplate ?? DEFAULT_TEMPLATE).replace('{question}', () => question!));
  const wanted = ids.filter((id) => id === config.imageTokenId).length;
  const given = imagesOf(options).length;
  if (wanted !== given)
    throw invalidArgument('generate', 'image', `${given} picture(s)`, `${wanted}, one for each image token of the prompt`);
  if (ids.length === 0) throw invalidArgument('generate', 'prompt', 'empty', 'at least one token');
  return ids;
}

function imagesOf({ image }: GenerateOptions): readonly (ImageInput | EncodedImage)[] {
  if (image === undefined) return [];
  return Array.isArray(image) ? image : [image as ImageInput | EncodedImage];
}

async function encodeImages(model: Vlm, options: GenerateOptions): Promise<{ encoded: EncodedImage[]; own: EncodedImage[] }> {
  const { method, signal } = options;
  const encoded: EncodedImage[] = [];
  const own: EncodedImage[] = [];
  try {
    for (const image of imagesOf(options)) {
      if (isEncoded(image)) {
        const name = method?.name ?? 'none';
        if (image.method !== name)
          throw invalidArgument('generate', 'image', `encoded for method "${image.method}"`, `encoded for "${name}"`);
        encoded.push(image);
      } else {
        const made = await model.encodeImage(image, { method, signal });
        own.push(made);
        encoded.push(made);
      }
    }
    return { encoded, own };
  } catch (error) {
    for (const made of own) made[Symbol.dispose]();
    throw error;
  }
}

function isEncoded(image: ImageInput | EncodedImage): image is EncodedImage {
  return typeof image === 'object' && 'parts' in image;
}

/** Text rows with every image token replaced by the rows of its picture. */
function composeSequence(model: Vlm, ids: readonly number[], images: readonly EncodedImage[]): Sequence {
  const parts: Part[] = [];
  const text: Tensor<'f32'>[] = [];
  const addText = (from: number, to: number) => {
    if (from === to) return;
    const rows = model.embed(ids.slice(from, to));
    text.push(rows);
    parts.push({ kind: 'text', rows });
  };
  let from = 0;
  let image = 0;
  try {
    ids.forEach((id, at) => {
      if (id !== model.config.imageTokenId) return;
      addText(from, at);
      parts.push(...images[image++]!.parts);
      from = at + 1;
    });
    addText(from, ids.length);
    return assemble(model.backend, parts, model.config.text.hiddenSize);
  } finally {
    for (const rows of text) rows.dispose();
  }
}

/** A prompt in one chunk stores the kept rows only, so that is all the room it needs; in chunks it needs all at first. */
function makeCache(model: Vlm, sequence: Sequence, { method, chunkSize, kvDtype: dtype }: GenerateOptions, maxTokens: number): KvCache {
  const { numLayers: layers, numKvHeads: kvHeads, headDim } = model.config.text;
  const length = sequence.positions.length;
  const inOneChunk = chunkSize === undefined || chunkSize >= length;
  const stored = inOneChunk ? rowsOutside(sequence.positions, method?.evict?.(sequence) ?? []).length : length;
  return new KvCache(model.backend, { layers, kvHeads, headDim, capacity: stored + maxTokens, dtype });
}

/** Gives back the room that a prompt in chunks needed for rows that are evicted by now. */
function shrink(cache: KvCache, maxTokens: number): void {
  for (let layer = 0; layer < cache.layers; layer++) {
    const held = cache.length(layer);
    cache.compact(layer, range(0, held), { capacity: held + maxTokens });
  }
}

function kvBytes(model: Vlm, rows: number, dtype: FloatDType = 'f32'): number {
  const { numLayers, numKvHeads, headDim } = model.config.text;
  return 2 * bytesOf({ dtype, shape: [rows, numLayers, numKvHeads, headDim] });
}

function contextExceeded(rows: number, maxPositions: number): SkipVisionError {
  return new SkipVisionError(
    'context-exceeded',
    `the prompt has ${rows} rows, the model ${maxPositions} positions, and an answer needs at least one`,
    {
      op: 'generate',
      argument: 'prompt',
      got: `${rows} rows`,
      expected: `at most ${maxPositions - 1}`,
    },
  );
}

/** The ids of the answer so far, and how the next one is picked. */
class Answer {
  readonly ids: number[] = [];
  ended = false;
  readonly #model: Vlm;
  readonly #options: GenerateOptions;
  readonly #sampler: Sampler | undefined;
  readonly #stops: ReadonlySet<number>;

  constructor(model: Vlm, options: GenerateOptions, sampler: Sampler | undefined) {
    this.#model = model;
    this.#options = options;
    this.#sampler = sampler;
    this.#stops = new Set([...model.config.text.eosTokenIds, ...(options.stopTokens ?? [])]);
  }

  get text(): string {
    const spoken = this.ended ? this.ids.slice(0, -1) : this.ids;
    return this.#model.tokenizer.decode(spoken, { skipSpecial: true });
  }

  /** Adds the token that follows from hidden [1, D]. */
  async take(hidden: Tensor<'f32'>): Promise<void> {
    const { onToken, onLogits, signal } = this.#options;
    using logits = this.#model.logits(hidden);
    const values = this.#sampler || onLogits ? await this.#model.backend.read(logits, { signal }) : undefined;
    if (values) onLogits?.(values, this.ids.length);
    const id = this.#sampler ? this.#sampler(values!) : await this.#greedy(logits);
    this.ids.push(id);
    this.ended = this.#stops.has(id);
    if (!this.ended) onToken?.({ id, text: this.text });
  }

  async #greedy(logits: Tensor<'f32'>): Promise<number> {
    const { backend } = this.#model;
    using best = backend.empty({ dtype: 'u32', shape: [1] });
    backend.run(argmax, { x: logits, ids: best }, {});
    return (await backend.read(best, { signal: this.#options.signal }))[0]!;
  }
}

/** FLOPs and time since the last lap. */
class Meter implements Disposable {
  readonly #tracing: Disposable;
  #flops = 0;
  #start = performance.now();

  constructor(backend: Backend) {
    this.#tracing = backend.trace(({ flops }) => {
      this.#flops += flops;
    });
  }

  lap(): { flops: number; ms: number } {
    const now = performance.now();
    const result = { flops: this.#flops, ms: now - this.#start };
    this.#flops = 0;
    this.#start = now;
    return result;
  }

  [Symbol.dispose](): void {
    this.#tracing[Symbol.dispose]();
  }
}
