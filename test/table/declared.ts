import type { AnyField } from '../../src/backend/fields.ts';

/** A function with the declaration of its arguments. */
export interface DeclaredFunction {
  // biome-ignore lint/suspicious/noExplicitAny: called with whatever.
  call(...args: any[]): unknown;
  /** One field for each argument, in order. */
  fields: Readonly<Record<string, AnyField>>;
  /** Arguments that are taken. */
  good: readonly unknown[];
  /** What it refuses beyond its declaration: the argument it names, and the arguments it is given. */
  also?: readonly (readonly [named: string, ...args: unknown[]])[];
  /** Why the good arguments are not tried. */
  untried?: string;
}

/** Of a function whose one argument is its options. */
export const options = (fields: Readonly<Record<string, AnyField>>): Record<string, AnyField> => ({
  options: { kind: 'record', optional: true, expected: 'an object', fields, accepts: () => true },
});
