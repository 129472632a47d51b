/**
 * The harness of the portable suites: no dependency, so that one bundle runs in Node, Deno, Bun and browsers. A suite is
 * a function of the platform: it registers tests for what the platform has, and says what it skips and why.
 */
import type { Backend } from '../src/backend/backend.ts';
import type { BackendName } from '../src/backend/features.ts';
import { type ErrorCode, SkipVisionError } from '../src/backend/errors.ts';
import type { TypedArray } from '../src/backend/tensor.ts';

export type Runtime = 'node' | 'deno' | 'bun' | 'chromium';

/** A backend under test, e.g. `wasm relaxed`. */
export interface BackendCase {
  name: string;
  kind: BackendName;
  create(): Promise<Backend>;
  /** The same on one thread, where `create` makes one of several. */
  createAlone?(): Promise<Backend>;
  /** The same without integer products, where `create` makes one that may have them. */
  createFloat?(): Promise<Backend>;
  /** A new backend, and memory of the caller that it can borrow. */
  lend?(contents: Float32Array<ArrayBuffer>): Promise<LentMemory>;
}

export interface LentMemory {
  backend: Backend;
  handle: unknown;
  /** What the memory holds now, read without the backend. */
  read(): Promise<Float32Array>;
  release(): void;
}

export interface Platform {
  runtime: Runtime;
  version: string;
  /** Whether shared memory is available to pages; runtimes outside browsers have it always. */
  isolated: boolean;
  backends: readonly BackendCase[];
}

export interface Suite {
  readonly platform: Platform;
  test(name: string, run: () => void | Promise<void>): void;
  skip(name: string, reason: string): void;
}

export type SuiteFunction = (suite: Suite) => void;

export interface TestCase {
  suite: string;
  name: string;
  run?: () => void | Promise<void>;
  /** Why a test without `run` is skipped. */
  reason?: string;
}

export interface TestResult {
  suite: string;
  name: string;
  status: 'passed' | 'failed' | 'skipped';
  message?: string;
}

/** One backend for all tests of a suite: a new one compiles every kernel anew, which takes most of the time that tests take. */
export function opener(create: () => Promise<Backend>): () => Promise<Backend> {
  let opened: Promise<Backend> | undefined;
  return () => (opened ??= create());
}

/** The tests that suites register on a platform, in order. */
export function collect(suites: Readonly<Record<string, SuiteFunction>>, platform: Platform): TestCase[] {
  const cases: TestCase[] = [];
  for (const [suite, register] of Object.entries(suites)) {
    register({
      platform,
      test: (name, run) => void cases.push({ suite, name, run }),
      skip: (name, reason) => void cases.push({ suite, name, reason }),
    });
  }
  return cases;
}

/** Runs tests one after another and reports each as it ends. */
export async function runTests(cases: readonly TestCase[], report: (result: TestResult) => void): Promise<void> {
  for (const { suite, name, run, reason } of cases) {
    if (!run) {
      report({ suite, name, status: 'skipped', message: reason });
      continue;
    }
    try {
      await run();
      report({ suite, name, status: 'passed' });
    } catch (error) {
      report({ suite, name, status: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  }
}

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

export function ok(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export function equal<T>(actual: T, expected: T, what = 'value'): void {
  ok(Object.is(actual, expected), `${what} is ${show(actual)}, expected ${show(expected)}`);
}

export function deepEqual(actual: unknown, expected: unknown, what = 'value'): void {
  const [a, b] = [show(actual), show(expected)];
  ok(a === b, `${what} is ${a}, expected ${b}`);
}

/** Equal to the bit: NaN equals NaN, 0 does not equal -0. */
export function identical(actual: TypedArray, expected: TypedArray, what = 'array'): void {
  equal(actual.length, expected.length, `length of ${what}`);
  const bits = (array: TypedArray) =>
    array instanceof Uint16Array ? array : new Uint32Array(array.buffer, array.byteOffset, array.length);
  const [a, b] = [bits(actual), bits(expected)];
  const at = a.findIndex((value, i) => value !== b[i]);
  ok(at < 0, `${what}[${at}] is ${show(actual[at])}, expected ${show(expected[at])} to the bit`);
}

export interface Tolerance {
  atol: number;
  rtol: number;
}

/** Every element finite and |actual - expected| <= atol + rtol |expected|. The message names the worst element. */
export function close(actual: TypedArray, expected: TypedArray, { atol, rtol }: Tolerance, what = 'array'): void {
  equal(actual.length, expected.length, `length of ${what}`);
  let worst = -1;
  let excess = 1;
  for (let i = 0; i < expected.length; i++) {
    const allowed = atol + rtol * Math.abs(expected[i]!);
    const error = Math.abs(actual[i]! - expected[i]!);
    const ratio = Number.isFinite(actual[i]!) ? (error === 0 ? 0 : error / allowed) : Number.POSITIVE_INFINITY;
    if (ratio > excess) [worst, excess] = [i, ratio];
  }
  ok(
    worst < 0,
    `${what}[${worst}] is ${actual[worst]}, expected ${expected[worst]}: off by ${Math.abs(actual[worst]! - expected[worst]!)}, ` +
      `${excess.toFixed(1)} times the tolerance (atol ${atol}, rtol ${rtol})`,
  );
}

/** NaN, +Infinity, -Infinity and finite numbers stand at the same places. */
export function sameClasses(actual: TypedArray, expected: TypedArray, what = 'array'): void {
  equal(actual.length, expected.length, `length of ${what}`);
  const classOf = (value: number) => (Number.isFinite(value) ? 'a finite number' : String(value));
  for (let i = 0; i < expected.length; i++) equal(classOf(actual[i]!), classOf(expected[i]!), `${what}[${i}]`);
}

export interface ExpectedError {
  op?: string;
  argument?: string;
}

/**
 * `run` throws or rejects with a SkipVisionError of this code, op and argument. An invalid argument also says what it
 * got and what it takes.
 */
export async function throwsCode(run: () => unknown, code: ErrorCode, { op, argument }: ExpectedError = {}): Promise<SkipVisionError> {
  const error = await Promise.resolve()
    .then(run)
    .then(
      () => undefined,
      (thrown: unknown) => thrown ?? 'nothing',
    );
  ok(error !== undefined, `expected the error "${code}", nothing was thrown`);
  ok(error instanceof SkipVisionError, `expected a SkipVisionError "${code}", got ${error instanceof Error ? error.stack : show(error)}`);
  equal(error.code, code, `code of "${error.message}"`);
  if (op !== undefined) equal(error.op, op, `op of "${error.message}"`);
  if (argument !== undefined) equal(error.argument, argument, `argument of "${error.message}"`);
  if (code === 'invalid-argument') {
    ok(error.got, `"${error.message}" does not say what it got`);
    ok(error.expected, `"${error.message}" does not say what it expected`);
  }
  return error;
}

function show(value: unknown): string {
  if (value instanceof Float32Array || value instanceof Uint32Array) return `[${Array.from(value, String).join(', ')}]`;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return JSON.stringify(value) ?? String(value);
}
