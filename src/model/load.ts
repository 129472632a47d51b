import { BACKEND, type Backend } from '../backend/backend.ts';
import * as field from '../backend/fields.ts';
import { checkWeightDType } from '../backend/weight.ts';
import { loadConnector } from './connector.ts';
import { parseConfig } from './families/index.ts';
import type { PartNames, VlmSpec } from './families/spec.ts';
import { type Checkpoint, openCheckpoint } from './files/checkpoint.ts';
import { invalidCheckpoint, parseJson } from './files/json.ts';
import { type LoadProgress, type ModelSource, OPEN_SOURCE_FIELDS, openSource } from './files/source.ts';
import { parsePreprocessorConfig } from './image/preprocess.ts';
import { Decoder } from './stack/decoder.ts';
import { Loader, type LoaderOptions, PACKING } from './stack/loader.ts';
import { loadTower } from './stack/tower.ts';
import { Scope } from './stack/work.ts';
import { Tokenizer } from './text/tokenizer.ts';
import { Vlm, type VlmParts } from './vlm.ts';

export interface LoadModelOptions extends LoaderOptions {
  backend: Backend;
  onProgress?(progress: LoadProgress): void;
}

export const LOAD_MODEL_FIELDS = {
  source: OPEN_SOURCE_FIELDS.source,
  options: field.record<LoadModelOptions>({ ...PACKING, backend: BACKEND, onProgress: field.optional(field.callback()) }),
};

/**
 * Loads a model folder as the official library writes it: config.json, model.safetensors (or shards with an index), tokenizer.json,
 * tokenizer_config.json, preprocessor_config.json.
 * @throws `invalid-checkpoint` naming file and tensor, `unsupported` for models of another kind and a dtype that the backend lacks.
 */
export async function loadModel(source: ModelSource, options: LoadModelOptions): Promise<Vlm> {
  field.checkFields('loadModel', { source, options }, LOAD_MODEL_FIELDS);
  const { backend, dtype = 'f32', signal, onProgress } = options;
  checkWeightDType(backend, 'loadModel', dtype);
  const files = openSource(source, { signal, onProgress });
  const json = async (name: string) => parseJson(await files.read(name), name);
  const spec = parseConfig(await json('config.json'));
  const preprocessor = parsePreprocessorConfig(await json('preprocessor_config.json'));
  const tokenizerConfig = (await files.has('tokenizer_config.json')) ? await json('tokenizer_config.json') : {};
  const tokenizer = new Tokenizer(await json('tokenizer.json'), tokenizerConfig);
  const checkpoint = await openCheckpoint(files);
  signal?.throwIfAborted();

  const names = spec.layouts.find(({ decoder, embeddings }) => checkpoint.has(decoder + embeddings)) ?? spec.layouts[0]!;
  const packing = { dtype, signal };
  using made = new Scope();
  const part = (prefix: string) => made.keep(new Loader(backend, checkpoint, packing, prefix));
  const loader = part('');
  const embeddings = names.decoder + names.embeddings;
  const shape = [spec.vocabSize, spec.decoder.width] as const;
  const parts = {
    backend,
    config: spec,
    preprocessor,
    tokenizer,
    embeddings: loader.vector(embeddings, shape),
    head: await loader.weight(spec.tiedHead ? embeddings : names.head, ...shape),
    tower: await loadTower(part(names.tower), spec.tower),
    connector: await loadConnector(part(names.connector), spec.connector),
    decoder: made.keep(await Decoder.load(backend, checkpoint, spec.decoder, names.decoder, packing)),
    rest: takeRest(checkpoint, names, spec),
  };
  signal?.throwIfAborted();
  return new Vlm({ ...parts, held: made.move() });
}

/**
 * What no part has taken: parameters that methods bring along, copied, so that the files' bytes can be freed. A tensor of a part that the
 * part did not ask for means that config.json describes another model: its answers would be wrong.
 */
function takeRest(checkpoint: Checkpoint, names: PartNames, spec: VlmSpec): VlmParts['rest'] {
  const prefixes = [names.tower, names.connector, names.decoder].map((prefix) => prefix.split('.')[0]!);
  const belongs = (name: string) => prefixes.includes(name.split('.')[0]!);
  // The head of tied weights is written out by some, though it equals the embeddings.
  const unused = checkpoint.unused().filter((name) => name !== names.head && !spec.ignores(name, names));
  const extra = unused.filter(belongs);
  if (extra.length > 0) {
    const named = extra.slice(0, 8).join(', ') + (extra.length > 8 ? ` and ${extra.length - 8} more` : '');
    const got = `there, with ${extra.length} tensor(s) that config.json has no place for: ${named}`;
    throw invalidCheckpoint('checkpoint', extra[0]!, got, 'no such tensor');
  }
  const rest = new Map<string, { data: Float32Array; shape: readonly number[] }>();
  for (const name of unused) {
    const shape = checkpoint.shape(name);
    rest.set(name, { data: checkpoint.tensor(name, shape).slice(), shape });
  }
  return rest;
}
