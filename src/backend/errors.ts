/**
 * Every error this package throws on purpose. `code` is for programs, `message` says what was wrong and what to do.
 * An abort is not one of them: it rejects with the signal's own reason.
 */
export type ErrorCode =
  | 'invalid-argument' // wrong shape, dtype, range or order of an operand or attribute
  | 'disposed' // a tensor, weight, cache or backend used after its disposal
  | 'wrong-backend' // an operand that belongs to another backend
  | 'out-of-memory'
  | 'device-lost'
  | 'cache-full'
  | 'context-exceeded' // a prompt longer than the model's positions
  | 'unsupported' // known, but not available here (a feature, a dtype, a model part)
  | 'no-backend' // none of the wanted backends works here
  | 'unknown-name' // a method, backend or option nobody knows; the message lists the known ones
  | 'invalid-checkpoint' // a file of a model folder that cannot be used
  | 'invalid-image'
  | 'backend-failed'; // the runtime or driver refused valid work (validation error, internal error)

export interface ErrorDetails {
  /** Op in which the fault was found. */
  op?: string;
  /** Operand, attribute or option that is at fault. */
  argument?: string;
  got?: string;
  expected?: string;
  cause?: unknown;
}

export class SkipVisionError extends Error {
  override readonly name = 'SkipVisionError';
  readonly code: ErrorCode;
  readonly op?: string;
  readonly argument?: string;
  readonly got?: string;
  readonly expected?: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.op = details.op;
    this.argument = details.argument;
    this.got = details.got;
    this.expected = details.expected;
  }
}

/** A value as a part of a message. Whatever it is, it takes few characters and no error of its own comes out. */
export function show(value: unknown, depth = 0): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (typeof value === 'bigint') return `${String(value).slice(0, 60)}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    if (!Array.isArray(value)) return Object.prototype.toString.call(value);
    if (depth > 1) return '[...]';
    return `[${value
      .slice(0, 8)
      .map((element) => show(element, depth + 1))
      .join(', ')}${value.length > 8 ? ', ...' : ''}]`;
  } catch {
    return 'an object'; // a proxy or a getter that throws
  }
}

/** The error for a bad operand or attribute: `rms_norm: weight is f32 [5], expected f32 [D] with D = 4`. */
export function invalidArgument(
  op: string,
  argument: string,
  got: string,
  expected: string,
  code: ErrorCode = 'invalid-argument',
): SkipVisionError {
  return new SkipVisionError(code, `${op}: ${argument} is ${got}, expected ${expected}`, { op, argument, got, expected });
}

/** The error for a name nobody knows; lists the known ones. */
export function unknownName(kind: string, got: string, known: readonly string[]): SkipVisionError {
  const expected = known.join(', ');
  return new SkipVisionError('unknown-name', `unknown ${kind} "${got}"; known: ${expected}`, { argument: kind, got, expected });
}
