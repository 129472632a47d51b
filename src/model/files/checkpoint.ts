import * as field from '../../backend/fields.ts';
import { describe, Fields, invalidCheckpoint, isObject, parseJson } from './json.ts';
import { parseSafetensors, type SafeTensor, toFloat32 } from './safetensors.ts';
import type { OpenSource } from './source.ts';

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

const NAME = { name: field.text };
export const CHECKPOINT_FIELDS = {
  has: NAME,
  shape: NAME,
  tensor: { ...NAME, shape: field.list(field.integer({ min: 0 })) },
  unused: { ignoredPrefixes: field.optional(field.list(field.text)) },
};
const isOpen = (value: unknown) => {
  const { read, has } = (value ?? {}) as Partial<OpenSource>;
  return typeof read === 'function' && typeof has === 'function';
};
export const OPEN_CHECKPOINT_FIELDS = { source: field.anything<OpenSource>('what openSource gave', isOpen) };

/** The tensors of a model folder by name. Holds the files' bytes and nothing else: no converted copy is kept. */
export class Checkpoint {
  readonly #tensors: ReadonlyMap<string, SafeTensor>;
  readonly #used = new Set<string>();

  /** Use `openCheckpoint`. */
  constructor(tensors: ReadonlyMap<string, SafeTensor>) {
    this.#tensors = tensors;
  }

  get names(): readonly string[] {
    return [...this.#tensors.keys()];
  }

  has(name: string): boolean {
    field.checkFields('has', { name }, CHECKPOINT_FIELDS.has);
    return this.#tensors.has(name);
  }

  /** @throws `invalid-checkpoint` naming the tensor when it is missing. */
  shape(name: string): readonly number[] {
    field.checkFields('shape', { name }, CHECKPOINT_FIELDS.shape);
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw invalidCheckpoint('checkpoint', name, 'missing', 'a tensor');
    return tensor.shape;
  }

  /**
   * A tensor as f32, row-major. A view of the file's bytes where they allow it, so do not write to it.
   * @throws `invalid-checkpoint` naming the tensor when it is missing, has another shape, or is no F32, F16 or BF16.
   */
  tensor(name: string, shape: readonly number[]): Float32Array {
    field.checkFields('tensor', { name, shape }, CHECKPOINT_FIELDS.tensor);
    const tensor = this.#tensors.get(name);
    const expected = `[${shape.join(', ')}]`;
    if (tensor === undefined) throw invalidCheckpoint('checkpoint', name, 'missing', `a tensor of shape ${expected}`);
    if (tensor.shape.length !== shape.length || tensor.shape.some((extent, axis) => extent !== shape[axis])) {
      throw invalidCheckpoint('checkpoint', name, `of shape [${tensor.shape.join(', ')}]`, expected);
    }
    this.#used.add(name);
    return toFloat32(tensor);
  }

  /** Names never asked of `tensor`, without those that start with one of the prefixes. */
  unused(ignoredPrefixes: readonly string[] = []): string[] {
    field.checkFields('unused', { ignoredPrefixes }, CHECKPOINT_FIELDS.unused);
    return this.names.filter((name) => !this.#used.has(name) && !ignoredPrefixes.some((prefix) => name.startsWith(prefix)));
  }
}

/**
 * Reads `model.safetensors`, or else the shards that `model.safetensors.index.json` names.
 * @throws `invalid-checkpoint` naming the file or tensor that is missing or broken.
 */
export async function openCheckpoint(source: OpenSource): Promise<Checkpoint> {
  field.checkFields('openCheckpoint', { source }, OPEN_CHECKPOINT_FIELDS);
  if (await source.has(WEIGHTS)) return new Checkpoint(parseSafetensors(await source.read(WEIGHTS), WEIGHTS).tensors);
  if (await source.has(INDEX)) return new Checkpoint(await readShards(source));
  throw invalidCheckpoint(WEIGHTS, WEIGHTS, 'missing', `${WEIGHTS} or ${INDEX} in the model folder`);
}

async function readShards(source: OpenSource): Promise<ReadonlyMap<string, SafeTensor>> {
  const tensors = new Map<string, SafeTensor>();
  const places = parseIndex(parseJson(await source.read(INDEX), INDEX));
  for (const shard of new Set(places.values())) {
    const file = parseSafetensors(await source.read(shard), shard);
    for (const [name, place] of places) {
      if (place !== shard) continue;
      const tensor = file.tensors.get(name);
      if (tensor === undefined) throw invalidCheckpoint(shard, name, 'missing', `a tensor, as ${INDEX} places it there`);
      tensors.set(name, tensor);
    }
  }
  return tensors;
}

/** Name of a tensor -> its shard. */
function parseIndex(json: unknown): ReadonlyMap<string, string> {
  const index = new Fields(INDEX, json);
  const map = index.get('weight_map');
  if (!isObject(map)) throw index.invalid('weight_map', 'an object of tensor name -> file name');
  const places = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isPlainPath(shard)) {
      throw invalidCheckpoint(INDEX, name, `in ${describe(shard)}`, 'the name of a file in the model folder');
    }
    places.set(name, shard);
  }
  if (places.size === 0) throw index.invalid('weight_map', 'at least one tensor');
  return places;
}

/** An index comes from elsewhere: it must not reach out of the model folder. */
function isPlainPath(path: string): boolean {
  return !/[\\:]/.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}
