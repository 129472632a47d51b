/** The golden tensors of an answer: prompt, hidden states, caches, logits and ids. */
import { fastV, methodByName, none, skipVision } from '../../src/methods/index.ts';
import type { Image } from '../../src/model/image/decode.ts';
import type { Hooks, Method } from '../../src/model/stack/hooks.ts';
import { assemble, type Part, range, type Stream } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import type { Vlm } from '../../src/model/vlm.ts';
import { BOUNDS, type Golden, GoldenCheck } from './golden.ts';

/** Model A: the skip-trained one, decoding from the full cache and from the evicted one. */
export async function checkSkipAnswer(golden: Golden, model: Vlm, picture: Image): Promise<GoldenCheck> {
  const check = new GoldenCheck(golden);
  const trained = methodByName('skip-vision', model.config);
  const { num_retained: retained, num_skipped: skipped } = model.config.json.skip_vision as { num_retained: number; num_skipped: number };
  checkPrompt(check, model, golden.metadata!.question!);
  await checkPrefill(check, model, picture, trained, golden.metadata!.question!);
  await checkAnswer(check, 'full_kv', model, picture, skipVision({ retained, skipped, evict: false }), golden);
  await checkAnswer(check, 'skip_kv', model, picture, trained, golden);
  return check;
}

/** Model B: plain LLaVA, and FastV on it (K = 2; half and a quarter of the image rows stay). */
export async function checkFullAnswer(golden: Golden, model: Vlm, picture: Image): Promise<GoldenCheck> {
  const check = new GoldenCheck(golden);
  checkPrompt(check, model, golden.metadata!.question!);
  await checkPrefill(check, model, picture, none(), golden.metadata!.question!);
  await checkAnswer(check, 'full', model, picture, none(), golden);
  for (const [variant, r] of [
    ['fastv50', 0.5],
    ['fastv75', 0.75],
  ] as const)
    await checkAnswer(check, variant, model, picture, fastV({ r }), golden);
  return check;
}

function promptIds({ config, tokenizer }: Vlm, question: string): number[] {
  return tokenizer.encode(config.promptTemplate.replace('{question}', question));
}

function checkPrompt(check: GoldenCheck, model: Vlm, question: string): void {
  const ids = promptIds(model, question);
  check.list('prompt_ids', ids);
  check.list('question_ids', ids.slice(ids.indexOf(model.config.imageTokenId) + 1));
}

/** Hidden states of every row after every layer, and the caches before eviction. */
async function checkPrefill(check: GoldenCheck, model: Vlm, picture: Image, method: Method, question: string): Promise<void> {
  const { backend, config } = model;
  const { blocks } = config.decoder;
  using image = await model.encodeImage(picture, { method });
  const work = new Work(backend);
  using run = await method.start(model.room(work));
  const prompt = compose(model, work, promptIds(model, question), image.parts);
  const { order, segments } = prompt.rows;
  const length = order.length;
  const wants = (name: string) => check.golden.names.includes(name);
  const hiddenStates: Float32Array[] = [];
  using cache = model.decoder.makeCache({ capacity: length });
  if (wants('embeds')) check.values('embeds', await backend.read(prompt.x), BOUNDS.encoder);
  const { hidden } = await model.decoder.prefill(prompt, {
    cache,
    run: { decoder: run.decoder },
    outputRows: range(0, length),
    onLayer: async (layer, x) => {
      hiddenStates[layer] = await backend.read(x);
    },
  });
  using _hidden = hidden;
  if (wants('position_ids')) check.list('position_ids', order);
  const block = segments.find(({ kind }) => kind === 'skipped');
  if (wants('skip_range')) check.list('skip_range', [block!.start, block!.end]);
  for (const [layer, { kvHeads, headDim }] of blocks.entries()) {
    if (wants(`hidden.${layer}`)) check.values(`hidden.${layer}`, hiddenStates[layer]!, BOUNDS.decoder);
    if (!wants(`cache.${layer}.k`)) continue;
    check.values(
      `cache.${layer}.k`,
      headsFirst((await backend.read(cache.keys(layer))) as Float32Array, length, kvHeads, headDim),
      BOUNDS.decoder,
    );
    check.values(
      `cache.${layer}.v`,
      headsFirst((await backend.read(cache.values(layer))) as Float32Array, length, kvHeads, headDim),
      BOUNDS.decoder,
    );
  }
  if (!wants('prefill_logits')) return;
  using logits = model.logits(hidden);
  check.values('prefill_logits', (await backend.read(logits)).subarray(-config.vocabSize), BOUNDS.decoder);
}

function compose(model: Vlm, work: Work, ids: readonly number[], image: readonly Part[]): Stream {
  const at = ids.indexOf(model.config.imageTokenId);
  using before = model.embed(ids.slice(0, at));
  using after = model.embed(ids.slice(at + 1));
  const parts: Part[] = [{ kind: 'text', rows: before }, ...image, { kind: 'text', rows: after }];
  return assemble(work, parts, model.config.decoder.width);
}

/** [S, Hkv, dh] -> [Hkv, S, dh] */
function headsFirst(rows: Float32Array, length: number, heads: number, width: number): Float32Array {
  const result = new Float32Array(length * heads * width);
  for (let s = 0; s < length; s++) {
    for (let h = 0; h < heads; h++)
      result.set(rows.subarray((s * heads + h) * width, (s * heads + h + 1) * width), (h * length + s) * width);
  }
  return result;
}

async function checkAnswer(check: GoldenCheck, variant: string, model: Vlm, picture: Image, method: Method, golden: Golden): Promise<void> {
  const logits: number[] = [];
  const { ids, text, stats } = await model.generate({
    image: picture,
    question: golden.metadata!.question!,
    method,
    onLogits: (row) => logits.push(...row),
  });
  check.list(`${variant}.ids`, ids);
  check.values(`${variant}.logits`, logits, BOUNDS.decoder);
  check.same(`${variant}_text`, text, golden.metadata![`${variant}_text`]);
  await checkEviction(check, variant, model, picture, method, stats.kvBytesAfter);
}

/** What every layer holds when decoding starts, and where the next row stands; of FastV, what rows are ranked by and which stay. */
async function checkEviction(
  check: GoldenCheck,
  variant: string,
  model: Vlm,
  picture: Image,
  method: Method,
  kvBytesAfter: number,
): Promise<void> {
  using image = await model.encodeImage(picture, { method });
  const work = new Work(model.backend);
  using run = await method.start(model.room(work));
  const prompt = compose(model, work, promptIds(model, check.golden.metadata!.question!), image.parts);
  const { order, segments } = prompt.rows;
  const after: Hooks['after'] = async (layer, stream, seen) => {
    if (layer === 1 && check.golden.names.includes(`${variant}.scores`)) {
      using scores = seen.scores(order.length - 1, 'mean');
      const { start, end } = segments.find(({ kind }) => kind === 'image')!;
      check.values(`${variant}.scores`, (await model.backend.read(scores)).subarray(start, end), BOUNDS.decoder);
    }
    return run.decoder?.after?.(layer, stream, seen);
  };
  using cache = model.decoder.makeCache({ capacity: order.length });
  const { hidden } = await model.decoder.prefill(prompt, { cache, run: { ...run, decoder: { ...run.decoder, after } } });
  hidden.dispose();
  if (check.golden.names.includes(`${variant}.keep`)) check.list(`${variant}.keep`, cache.order(2));
  check.list(
    `${variant}.kv_len`,
    Array.from({ length: cache.layers }, (_, layer) => cache.length(layer)),
  );
  check.list(`${variant}.next_position`, [cache.nextOrder]);
  check.same(`${variant}: kvBytesAfter`, kvBytesAfter, cache.bytes);
}
