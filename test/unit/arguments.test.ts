/**
 * What the public functions are given and do not take: of wrong types, out of range, left out, unknown; made from their declarations.
 * Ops and the calls of a backend are held against theirs in `test/suites/arguments.ts`, on every backend.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SkipVisionError } from '../../src/backend/errors.ts';
import type { AnyField } from '../../src/backend/fields.ts';
import type { DeclaredFunction } from '../table/declared.ts';
import { FUNCTIONS, UNDECLARED } from '../table/functions.ts';
import { wrongValues } from '../wrong-values.ts';

/** Arguments, and the name of the one at fault. */
type BadCall = readonly [named: string, args: readonly unknown[]];

function badCalls({ fields, good, also = [] }: DeclaredFunction): BadCall[] {
  const generated = Object.entries(fields).flatMap(([name, field], i) => [
    ...badValues(name, field, good[i]).map(([named, value]) => [named, Object.assign([...good], { [i]: value })] as const),
    ...(field.optional ? [] : [[name, good.slice(0, i)] as const]),
  ]);
  return [...generated, ...also.map(([named, ...args]) => [named, args] as const)];
}

/** Values in the place of a good one, and what their refusal names: of a record the name inside it. */
function badValues(name: string, field: AnyField, good: unknown): (readonly [named: string, value: unknown])[] {
  const whole = wrongValues(field).map((value) => [name, value] as const);
  if (field.kind !== 'record') return whole;
  const held = Object.fromEntries(Object.entries(good ?? {}).filter(([, value]) => value !== undefined));
  const inside = Object.entries(field.fields!).flatMap(([inner, each]) => [
    ...badValues(inner, each, held[inner]).map(([named, value]) => [named, { ...held, [inner]: value }] as const),
    ...(each.optional ? [] : [[inner, { ...held, [inner]: undefined }] as const]),
  ]);
  return [...whole, ...inside, ['unheard', { ...held, unheard: undefined }]];
}

async function outcome(work: () => unknown): Promise<unknown> {
  try {
    await work();
    return 'taken';
  } catch (error) {
    return error;
  }
}

describe.each(Object.entries(FUNCTIONS))('%s', (_name, entry) => {
  if (!entry.untried) {
    test('takes what is right', async () => {
      expect(await outcome(() => entry.call(...entry.good))).toBe('taken');
    });
  }

  test('refuses what is not', async () => {
    const calls = badCalls(entry);
    expect(calls.length).toBeGreaterThan(5);
    for (const [named, args] of calls) {
      const got = await outcome(() => entry.call(...args));
      const faults = { got, named, args };
      if (!(got instanceof SkipVisionError)) expect(faults).toBe('a coded error');
      else if (got.argument !== named) expect(faults).toBe('an error that names the argument');
    }
  });
});

/** What package.json exports, as sources. */
const ENTRIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  '.': await import('../../src/index.ts'),
  './ops': await import('../../src/ops/index.ts'),
  './ops/wasm': await import('../../src/ops/wasm.ts'),
  './ops/webgpu': await import('../../src/ops/webgpu.ts'),
  './model': await import('../../src/model/index.ts'),
  './methods': await import('../../src/methods/index.ts'),
  './backend/wasm': await import('../../src/wasm.ts'),
  './backend/webgpu': await import('../../src/webgpu.ts'),
  './backend/reference': await import('../../src/backend/reference/driver.ts'),
};

test('every function and class of the public entries, and every method of these, is in the table', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: object };
  expect(Object.keys(exports).filter((path) => path !== './worker' && path !== './package.json')).toEqual(Object.keys(ENTRIES));
  const names = Object.values(ENTRIES).flatMap((entry) =>
    Object.entries(entry).flatMap(([name, value]) => {
      if (typeof value !== 'function') return [];
      const isClass = /^class\b/.test(Function.prototype.toString.call(value));
      return isClass ? [name, ...methodsOf(value.prototype as object).map((method) => `${name}.${method}`)] : [name];
    }),
  );
  const isKnown = (name: string) => Object.hasOwn(FUNCTIONS, name) || UNDECLARED.includes(name);
  expect([...new Set(names)].filter((name) => !isKnown(name))).toEqual([]);
});

function methodsOf(prototype: object): string[] {
  const all = Object.entries(Object.getOwnPropertyDescriptors(prototype));
  return all.filter(([name, { value }]) => typeof value === 'function' && name !== 'constructor').map(([name]) => name);
}
