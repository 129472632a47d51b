import { SkipVisionError } from '../../backend/errors.ts';
import { Fields } from '../files/json.ts';
import { readLlava } from './llava.ts';
import type { VlmSpec } from './spec.ts';

/** How to read a `config.json`, by its `model_type`. */
const FAMILIES: Readonly<Record<string, (root: Fields) => VlmSpec>> = { llava: readLlava };

/**
 * Reads a parsed `config.json`. Absent fields have the defaults of the official library, because its files leave out what equals one.
 * @throws `unsupported` for another kind of model or a feature of it that is not here; `invalid-checkpoint` naming the field for a
 * value that no model can have.
 */
export function parseConfig(json: unknown): VlmSpec {
  const root = new Fields('config.json', json);
  const type = root.string('model_type') ?? 'missing';
  if (Object.hasOwn(FAMILIES, type)) return FAMILIES[type]!(root);
  const expected = Object.keys(FAMILIES).join(', ');
  const message = `config.json: model_type is ${type}; supported: ${expected}`;
  throw new SkipVisionError('unsupported', message, { argument: 'model_type', got: type, expected });
}
