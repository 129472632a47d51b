/** Values that a declaration must refuse, made from what it says of itself: of other types, and out of its range. */
import type { AnyField } from '../src/backend/fields.ts';

/** One or two of everything, and nothing of this package. */
export const SAMPLES: readonly unknown[] = [
  null,
  true,
  1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  5n,
  '1',
  'false',
  '',
  Symbol('mine'),
  () => {},
  [],
  [0.5],
  [null],
  Float32Array.of(1),
  {},
  { valueOf: () => 1, toString: () => '1' },
  {
    get [Symbol.toStringTag](): string {
      throw new TypeError('nothing to be told');
    },
    toString(): string {
      throw new TypeError('nothing to be told');
    },
  },
  Object.create(null),
  new AbortController(),
];

/** What no argument takes that must be an object with names. */
export const NO_OBJECTS = SAMPLES.filter((sample) => typeof sample !== 'object' || sample === null);

const notOfType = (type: string) => SAMPLES.filter((sample) => typeof sample !== type);

export function wrongValues(field: AnyField): unknown[] {
  const { range: { min, max, above, below } = {}, choices = [], elements = [] } = field;
  const infinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const outside = [min !== undefined && min - 1, max !== undefined && max + 1, above, below].filter((value) => typeof value === 'number');
  switch (field.kind) {
    case 'number':
      return [...notOfType('number'), ...infinite, ...outside];
    case 'f32':
      return [...notOfType('number'), ...infinite, ...outside, 1e300];
    case 'integer':
      return [...notOfType('number'), ...infinite, ...outside, 0.5, 1.5, -0.25];
    case 'boolean':
      return notOfType('boolean');
    case 'text':
      return notOfType('string');
    case 'choice':
      return [...SAMPLES, ...choices.map((choice) => choice.toUpperCase()).filter((choice) => !choices.includes(choice)), 'toString'];
    case 'list':
      return [...SAMPLES.filter((sample) => !Array.isArray(sample)), ...wrongValues(elements[0]!).map((wrong) => [wrong]), new Array(1)];
    case 'tuple': {
      const right = elements.map(rightValue);
      const spoilt = elements.flatMap((element, i) => wrongValues(element).map((wrong) => right.with(i, wrong)));
      return [...SAMPLES, ...spoilt, right.slice(1), [...right, right[0]]];
    }
    case 'callback':
      return notOfType('function');
    case 'signal':
    case 'instance':
      return [...SAMPLES];
    case 'record':
      return NO_OBJECTS;
    case 'anything':
      return SAMPLES.filter((sample) => !field.accepts(sample));
  }
}

/** One value that the field takes. */
function rightValue({ kind, range: { min = 0 } = {}, choices, elements = [] }: AnyField): unknown {
  if (kind === 'number' || kind === 'f32' || kind === 'integer') return min;
  if (kind === 'choice') return choices![0];
  if (kind === 'list') return [];
  if (kind === 'tuple') return elements.map(rightValue);
  throw new Error(`no value of kind ${kind} is known here`);
}
