import { show, SkipVisionError } from '../../backend/errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The error for a file of a model folder that cannot be used; `argument` is the tensor, field or file at fault. */
export function invalidCheckpoint(file: string, argument: string, got: string, expected: string, cause?: unknown): SkipVisionError {
  const subject = argument === file ? file : `${file}: ${argument}`;
  return new SkipVisionError('invalid-checkpoint', `${subject} is ${got}, expected ${expected}`, { argument, got, expected, cause });
}

/** A value in an error message: JSON, cut to a readable length. */
export function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A BigInt or an object within itself, which no file holds: a caller's own.
  }
  text ??= show(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses the bytes of a JSON file; `invalid-checkpoint` naming the file when they are not UTF-8 JSON. */
export function parseJson(bytes: Uint8Array, file: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalidCheckpoint(file, file, `no JSON (${cause instanceof Error ? cause.message : String(cause)})`, 'a JSON file', cause);
  }
}

interface Range {
  /** Value of an absent field; without it an absent field is an error. */
  default?: number;
  min: number;
  max: number;
}

/**
 * Checked reading of one object of a JSON file. Every error is `invalid-checkpoint` and names file and field. `null`
 * counts as absent, because Hugging Face writes it for "use the default".
 */
export class Fields {
  readonly file: string;
  readonly #path: string;
  readonly #object: JsonObject;

  constructor(file: string, value: unknown, path = '') {
    this.file = file;
    this.#path = path;
    if (!isObject(value)) throw invalidCheckpoint(file, path === '' ? file : path, describe(value), 'a JSON object');
    this.#object = value;
  }

  /** The object as it stands in the file. */
  get json(): JsonObject {
    return this.#object;
  }

  /** Full name of a field, as in `text_config.hidden_size`. */
  name(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  get(key: string): unknown {
    return Object.hasOwn(this.#object, key) ? (this.#object[key] ?? undefined) : undefined;
  }

  /** A nested object; an absent one is `absent`. */
  object(key: string, absent: JsonObject = {}): Fields {
    return new Fields(this.file, this.get(key) ?? absent, this.name(key));
  }

  integer(key: string, range: Range): number {
    const value = this.get(key) ?? range.default;
    if (typeof value === 'number' && Number.isInteger(value) && value >= range.min && value <= range.max) return value;
    throw this.invalid(key, `an integer from ${range.min} to ${range.max}`, value);
  }

  /** A number with min < value <= max. */
  number(key: string, range: Range): number {
    const value = this.get(key) ?? range.default;
    if (typeof value === 'number' && value > range.min && value <= range.max) return value;
    throw this.invalid(key, `a number above ${range.min} and up to ${range.max}`, value);
  }

  boolean(key: string, absent: boolean): boolean {
    const value = this.get(key) ?? absent;
    if (typeof value === 'boolean') return value;
    throw this.invalid(key, 'true or false');
  }

  string(key: string): string | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === 'string') return value;
    throw this.invalid(key, 'a string');
  }

  /** One of a few strings; another is 'unsupported'. */
  choice<const C extends string>(key: string, choices: readonly C[], absent: NoInfer<C>): C {
    const value = this.string(key) ?? absent;
    if (!choices.includes(value as C)) throw this.unsupported(key, choices.map((each) => `"${each}"`).join(', '));
    return value as C;
  }

  invalid(key: string, expected: string, got: unknown = this.get(key)): SkipVisionError {
    return invalidCheckpoint(this.file, this.name(key), describe(got), expected);
  }

  unsupported(key: string, expected: string): SkipVisionError {
    const argument = this.name(key);
    const got = describe(this.get(key));
    const message = `${this.file}: ${argument} is ${got}, which is not supported; supported: ${expected}`;
    return new SkipVisionError('unsupported', message, { argument, got, expected });
  }
}
