import { invalidArgument, SkipVisionError } from '../backend/errors.ts';
import type { EncodedImage, Engine } from './engine.ts';
import type { GenerateOptions } from './generate-options.ts';
import type { ImageInput } from './image/image.ts';
import { assemble, type Part, type Stream } from './stack/rows.ts';
import { Scope, type Work } from './stack/work.ts';

/** Prompt text -> ids, one image token for each picture. */
export function promptIds({ config, tokenizer }: Engine, options: GenerateOptions): number[] {
  const { question, prompt } = options;
  if ((question === undefined) === (prompt === undefined))
    throw invalidArgument('generate', 'question', 'given with prompt, or neither', 'either question or prompt');
  if (question !== undefined && question.trim() === '') throw invalidArgument('generate', 'question', 'empty', 'some text');
  const ids = tokenizer.encode(prompt ?? config.promptTemplate.replace('{question}', () => question!));
  const wanted = ids.filter((id) => id === config.imageTokenId).length;
  const given = imagesOf(options).length;
  if (wanted !== given)
    throw invalidArgument('generate', 'image', `${given} picture(s)`, `${wanted}, one for each image token of the prompt`);
  if (ids.length === 0) throw invalidArgument('generate', 'prompt', 'empty', 'at least one token');
  return ids;
}

/** The pictures of a prompt: those given encoded, and those encoded for it, whose FLOPs are told and which are freed with it. */
export async function encodePictures(model: Engine, options: GenerateOptions) {
  const { method, signal } = options;
  const key = method?.key ?? 'none';
  const encoded: EncodedImage[] = [];
  let flops = 0;
  using own = new Scope();
  for (const image of imagesOf(options)) {
    const each = isEncoded(image) ? image : own.keep(await model.encodeImage(image, { method, signal }));
    if (each.method !== key) throw invalidArgument('generate', 'image', `encoded for method "${each.method}"`, `encoded for "${key}"`);
    if (each !== image) flops += each.flops;
    encoded.push(each);
  }
  const scope = own.move();
  return { encoded, flops, [Symbol.dispose]: () => scope[Symbol.dispose]() };
}

/** Text rows with every image token replaced by the rows of its picture. */
export function composePrompt(model: Engine, work: Work, ids: readonly number[], images: readonly EncodedImage[]): Stream {
  const parts: Part[] = [];
  using text = new Scope();
  const addText = (from: number, to: number) => {
    if (from < to) parts.push({ kind: 'text', rows: text.keep(model.embed(ids.slice(from, to), work)) });
  };
  let from = 0;
  let image = 0;
  for (const [at, id] of ids.entries()) {
    if (id !== model.config.imageTokenId) continue;
    addText(from, at);
    parts.push(...images[image++]!.parts);
    from = at + 1;
  }
  addText(from, ids.length);
  return assemble(work, parts, model.config.decoder.width);
}

export function contextExceeded(rows: number, maxPositions: number): SkipVisionError {
  const message = `the prompt has ${rows} rows, the model ${maxPositions} positions, and an answer needs at least one`;
  const expected = `at most ${maxPositions - 1}`;
  return new SkipVisionError('context-exceeded', message, { op: 'generate', argument: 'prompt', got: `${rows} rows`, expected });
}

function imagesOf({ image }: GenerateOptions): readonly (ImageInput | EncodedImage)[] {
  if (image === undefined) return [];
  return Array.isArray(image) ? image : [image as ImageInput | EncodedImage];
}

function isEncoded(image: ImageInput | EncodedImage): image is EncodedImage {
  return typeof image === 'object' && image !== null && 'parts' in image;
}
