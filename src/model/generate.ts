import { checkFields } from '../backend/fields.ts';
import { bytesOf, type Tensor } from '../backend/tensor.ts';
import { argmax } from '../ops/argmax.ts';
import type { Engine } from './engine.ts';
import { GENERATE_FIELDS, type GenerateOptions, type GenerateResult } from './generate-options.ts';
import { composePrompt, contextExceeded, encodePictures, promptIds } from './prompt.ts';
import { Work } from './stack/work.ts';
import { makeSampler } from './text/sampling.ts';

export async function generate(model: Engine, options: GenerateOptions): Promise<GenerateResult> {
  checkFields('generate', options, GENERATE_FIELDS);
  const { backend, config, decoder } = model;
  const { method, signal, chunkSize, kvDtype: dtype = 'f32' } = options;
  signal?.throwIfAborted();
  const ids = promptIds(model, options);
  const work = new Work(backend, signal);
  const answer = startAnswer(model, work, options, ids);
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
function startAnswer(model: Engine, work: Work, options: GenerateOptions, prompt: readonly number[]) {
  const { backend, config, tokenizer } = model;
  const { onToken, onLogits, signal, stopTokens = [] } = options;
  const sampler = makeSampler(options);
  const stops = new Set([...config.eosTokenIds, ...stopTokens]);
  const greedy = async (logits: Tensor<'f32'>) => {
    using best = work.produce([1], (ids) => work.run(argmax, { x: logits, ids }, {}), 'u32');
    return (await backend.read(best, { signal }))[0]!;
  };
  return {
    ids: [] as number[],
    ended: false,
    get text(): string {
      const spoken = this.ended ? this.ids.slice(0, -1) : this.ids;
      return tokenizer.decode(spoken, { skipSpecial: true });
    },
    /** Adds the token that follows from hidden [1, D]. */
    async take(hidden: Tensor<'f32'>): Promise<void> {
      using logits = model.logits(hidden, work);
      const values = sampler || onLogits ? await backend.read(logits, { signal }) : undefined;
      if (values) onLogits?.(values, this.ids.length);
      const id = sampler ? sampler(values!, [...prompt, ...this.ids]) : await greedy(logits);
      this.ids.push(id);
      this.ended = stops.has(id);
      if (!this.ended) onToken?.({ id, text: this.text });
    },
  };
}
