import { checkFields } from '../backend/fields.ts';
import { bytesOf, type Tensor } from '../backend/tensor.ts';
import { argmax } from '../ops/argmax.ts';
import type { Engine } from './engine.ts';
import { GENERATE_FIELDS, type GenerateOptions, type GenerateResult } from './generate-options.ts';
import { composePrompt, contextExceeded, encodePictures, promptIds } from './prompt.ts';
import { Work } from './stack/work.ts';
import { makeSampler, type Sampler } from './text/sampling.ts';

export async function generate(model: Engine, options: GenerateOptions): Promise<GenerateResult> {
  checkFields('generate', options, GENERATE_FIELDS);
  const { backend, config, decoder } = model;
  const { method, signal, chunkSize, kvDtype: dtype = 'f32' } = options;
  signal?.throwIfAborted();
  const sampler = makeSampler(options);
  const ids = promptIds(model, options);
  const work = new Work(backend, signal);
  const lap = stopwatch(work);

  using pictures = await encodePictures(model, options);
  const encode = lap();
  using run = await method?.start(model.room(work));
  const prompt = composePrompt(model, work, ids, pictures.encoded);
  using _embeds = prompt.x;
  const promptRows = prompt.rows.order.length;
  const room = config.maxPositions - promptRows;
  if (room < 1) throw contextExceeded(promptRows, config.maxPositions);
  const limit = Math.min(options.maxTokens ?? 64, room);
  using cache = decoder.makeCache({ room: limit, dtype });
  const { hidden, layers } = await decoder.prefill(prompt, { cache, run, chunkSize, signal, work });
  const kvBytesAfter = cache.bytes;
  const answer = new Answer(model, work, options, sampler, ids);
  using _hidden = hidden;
  await answer.take(hidden);
  const prefill = lap();

  while (!answer.ended && answer.ids.length < limit) {
    using row = model.embed([answer.ids.at(-1)!], work);
    using next = await decoder.decode(row, cache, { signal, work, hooks: run?.decoder });
    await answer.take(next);
  }
  const decode = lap();
  const steps = answer.ids.length - 1;
  const rowBytes = config.decoder.blocks.reduce((sum, { kvHeads, headDim }) => sum + 2 * bytesOf({ dtype, shape: [kvHeads, headDim] }), 0);
  return {
    text: answer.text,
    ids: answer.ids,
    finishReason: answer.ended ? 'stop' : 'length',
    stats: {
      backend: backend.name,
      method: method?.name ?? 'none',
      promptRows,
      ffnRows: layers[0]?.ffn ?? promptRows,
      layers,
      generatedTokens: answer.ids.length,
      kvBytesBefore: promptRows * rowBytes,
      kvBytesAfter,
      encodeFlops: pictures.flops,
      prefillFlops: prefill.flops,
      decodeFlops: decode.flops,
      encodeMs: encode.ms,
      prefillMs: prefill.ms,
      decodeMs: decode.ms,
      decodeMsPerToken: steps > 0 ? decode.ms / steps : 0,
    },
  };
}

/** FLOPs and milliseconds since it was called last. */
function stopwatch(work: Work): () => { flops: number; ms: number } {
  let [flops, start] = [work.flops, performance.now()];
  return () => {
    const now = performance.now();
    const lap = { flops: work.flops - flops, ms: now - start };
    [flops, start] = [work.flops, now];
    return lap;
  };
}

/** The ids of the answer so far, and how the next one is picked. */
class Answer {
  readonly ids: number[] = [];
  ended = false;
  readonly #model: Engine;
  readonly #work: Work;
  readonly #options: GenerateOptions;
  readonly #sampler: Sampler | undefined;
  readonly #prompt: readonly number[];
  readonly #stops: ReadonlySet<number>;

  constructor(model: Engine, work: Work, options: GenerateOptions, sampler: Sampler | undefined, prompt: readonly number[]) {
    this.#model = model;
    this.#work = work;
    this.#options = options;
    this.#sampler = sampler;
    this.#prompt = prompt;
    this.#stops = new Set([...model.config.eosTokenIds, ...(options.stopTokens ?? [])]);
  }

  get text(): string {
    const spoken = this.ended ? this.ids.slice(0, -1) : this.ids;
    return this.#model.tokenizer.decode(spoken, { skipSpecial: true });
  }

  /** Adds the token that follows from hidden [1, D]. */
  async take(hidden: Tensor<'f32'>): Promise<void> {
    const { onToken, onLogits, signal } = this.#options;
    using logits = this.#model.logits(hidden, this.#work);
    const values = this.#sampler || onLogits ? await this.#model.backend.read(logits, { signal }) : undefined;
    if (values) onLogits?.(values, this.ids.length);
    const id = this.#sampler ? this.#sampler(values!, [...this.#prompt, ...this.ids]) : await this.#greedy(logits);
    this.ids.push(id);
    this.ended = this.#stops.has(id);
    if (!this.ended) onToken?.({ id, text: this.text });
  }

  async #greedy(logits: Tensor<'f32'>): Promise<number> {
    const { backend } = this.#model;
    using best = backend.empty({ dtype: 'u32', shape: [1] });
    this.#work.run(argmax, { x: logits, ids: best }, {});
    return (await backend.read(best, { signal: this.#options.signal }))[0]!;
  }
}
