/**
 * Declarations of the values that callers give by name: attributes of ops, options of functions. One declaration checks a value's type
 * and range and refuses names that nobody knows; tests make wrong values of it. Meant to be imported as a whole:
 * `import * as field from './fields.ts'`, then `{ eps: field.number({ min: 0 }), signal: field.optional(field.signal) }`.
 */
import { invalidArgument, show, type SkipVisionError } from './errors.ts';

export interface Range {
  /** Smallest and largest value that is taken. */
  readonly min?: number;
  readonly max?: number;
  /** Values that are too small and too large themselves. */
  readonly above?: number;
  readonly below?: number;
}

/** What one value must be. The rest of it says the same once more for tests. */
export interface Field<T, Optional extends boolean = boolean> {
  readonly kind:
    | 'number'
    | 'f32'
    | 'integer'
    | 'boolean'
    | 'text'
    | 'choice'
    | 'list'
    | 'tuple'
    | 'callback'
    | 'signal'
    | 'instance'
    | 'record'
    | 'anything';
  readonly optional: Optional;
  /** What an error says it should have been. */
  readonly expected: string;
  accepts(value: unknown): boolean;
  /** Of a number or an integer. */
  readonly range?: Range;
  /** The values of a choice. */
  readonly choices?: readonly string[];
  /** What a list or a tuple is made of: of a list one for all elements. */
  readonly elements?: readonly AnyField[];
  /** Of a record. */
  readonly fields?: AnyFields;
  /** Never there: T is a type only, and neither a wider nor a narrower one will do. */
  readonly type?: (value: T) => T;
}

// biome-ignore lint/suspicious/noExplicitAny: of an unknown type.
export type AnyField = Field<any>;
export type AnyFields = Readonly<Record<string, AnyField>>;
/** A field that must be there. */
export type Required<T> = Field<T, false>;

/** A declaration of every property of A: none can be forgotten, and those that may be absent are `optional`. */
export type Fields<A> = { readonly [K in keyof A]-?: Field<Exclude<A[K], undefined>, MayBeAbsent<A[K]>> };
/** Of `any`: not known. */
type MayBeAbsent<T> = 0 extends T & 1 ? boolean : undefined extends T ? true : false;

/** A finite number. */
export function number(range: Range = {}): Required<number> {
  return numeric('number', 'a finite number', Number.isFinite, range);
}

/** A finite number that stays one when it is rounded to f32, as kernels take it. */
export function f32(range: Range = {}): Required<number> {
  return numeric('f32', 'a finite f32 number', (value) => Number.isFinite(Math.fround(value as number)), range);
}

export function integer(range: Range = {}): Required<number> {
  return numeric('integer', 'an integer', Number.isInteger, range);
}

function numeric(kind: 'number' | 'f32' | 'integer', what: string, isKind: (value: unknown) => boolean, range: Range): Required<number> {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = range;
  const { above = Number.NEGATIVE_INFINITY, below = Number.POSITIVE_INFINITY } = range;
  const words = { min: 'at least', max: 'at most', above: 'above', below: 'below' } as const;
  const bounds = (['min', 'max', 'above', 'below'] as const).filter((bound) => range[bound] !== undefined);
  return {
    ...declared<number>(
      kind,
      [what, ...bounds.map((bound) => `${words[bound]} ${range[bound]}`)].join(', '),
      (value) => typeof value === 'number' && isKind(value) && value >= min && value <= max && value > above && value < below,
    ),
    range,
  };
}

/** One that must be there. */
function declared<T>(kind: AnyField['kind'], expected: string, accepts: (value: unknown) => boolean): Required<T> {
  return { kind, optional: false, expected, accepts };
}

export const boolean = /* @__PURE__ */ declared<boolean>('boolean', 'true or false', (value) => typeof value === 'boolean');
export const text = /* @__PURE__ */ declared<string>('text', 'a string', (value) => typeof value === 'string');

export function oneOf<const C extends readonly string[]>(...choices: C): Required<C[number]> {
  const expected = choices.length === 2 ? choices.join(' or ') : `one of ${choices.join(', ')}`;
  return { ...declared<C[number]>('choice', expected, (value) => choices.includes(value as string)), choices };
}

export function list<T>(element: Required<T>): Required<readonly T[]> {
  // `every` would pass over holes
  const accepts = (value: unknown) => Array.isArray(value) && value.findIndex((each) => !element.accepts(each)) < 0;
  return { ...declared<readonly T[]>('list', `a list, each element ${element.expected}`, accepts), elements: [element] };
}

/** A list of as many values as there are fields. */
export function tuple<const T extends readonly unknown[]>(...elements: { readonly [I in keyof T]: Required<T[I]> }): Required<T> {
  const expected = `[${elements.map((element) => element.expected).join('; ')}]`;
  const accepts = (value: unknown) =>
    Array.isArray(value) && value.length === elements.length && elements.every((element, i) => element.accepts(value[i]));
  return { ...declared<T>('tuple', expected, accepts), elements };
}

export function callback<F extends (...args: never[]) => unknown>(): Required<F> {
  return declared('callback', 'a function', (value) => typeof value === 'function');
}

/** By structure: a signal may come from another realm. */
export const signal = /* @__PURE__ */ declared<AbortSignal>('signal', 'an AbortSignal', (value) => {
  const { throwIfAborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return typeof throwIfAborted === 'function' && typeof addEventListener === 'function';
});

export function instance<T>(type: abstract new (...args: never[]) => T, expected = `a ${type.name}`): Required<T> {
  return declared('instance', expected, (value) => value instanceof type);
}

/** An object with names of its own, as options are: an error tells of the name at fault. */
export function record<A extends object>(fields: Fields<A>): Required<A> {
  return { ...declared<A>('record', 'an object', (value) => faultOf('', value, fields, '') === undefined), fields };
}

/** What the function itself looks into, or what a test tells by itself. */
export function anything<T>(expected: string, accepts: (value: unknown) => boolean = () => true): Required<T> {
  return declared('anything', expected, accepts);
}

export function optional<T>(field: Required<T>): Field<T, true> {
  return { ...field, optional: true };
}

/**
 * Throws 'invalid-argument' for the first of these faults: `given` is no object, has a name that is not declared, lacks one that must
 * be there, or a value is not as declared. `where` is the op or function, `what` its argument as a whole.
 */
export function checkFields(where: string, given: unknown, fields: AnyFields, what = 'options'): void {
  const fault = faultOf(where, given, fields, what);
  if (fault) throw fault;
}

function faultOf(where: string, given: unknown, fields: AnyFields, what: string): SkipVisionError | undefined {
  if (typeof given !== 'object' || given === null) return invalidArgument(where, what, show(given), 'an object');
  const values = given as Readonly<Record<string, unknown>>;
  let right = 0;
  for (const name in fields) {
    const value = values[name];
    if (value !== undefined && fields[name]!.accepts(value)) right++;
    else if (value !== undefined || !fields[name]!.optional) return firstFault(where, values, fields);
  }
  // Every call of an op comes by here: no name is looked up twice but those given as undefined.
  for (const name in values) if (values[name] !== undefined || !Object.hasOwn(fields, name)) right--;
  return right === 0 ? undefined : firstFault(where, values, fields);
}

/** The first fault there is: a name that nobody knows, as that explains what is missing, or a value. */
function firstFault(where: string, values: Readonly<Record<string, unknown>>, fields: AnyFields): SkipVisionError | undefined {
  const unknown = Object.keys(values).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) {
    const known = Object.keys(fields).join(', ');
    return invalidArgument(where, unknown, 'unknown', known ? `no name but ${known}` : 'no names at all');
  }
  for (const [name, field] of Object.entries(fields)) {
    const value = values[name];
    if (value === undefined && !field.optional) return invalidArgument(where, name, 'absent', field.expected);
    if (value === undefined || field.accepts(value)) continue;
    return (field.fields && faultOf(where, value, field.fields, name)) ?? invalidArgument(where, name, show(value), field.expected);
  }
  return undefined;
}
