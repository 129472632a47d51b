/** The checks above the backends: an op's signature against the operands it was given. */
import type { Backend } from './backend.ts';
import { invalidArgument, SkipVisionError } from './errors.ts';
import type { IoOf, Op, Operand, TensorOperand } from './op.ts';
import { Tensor } from './tensor.ts';
import { Weight } from './weight.ts';

type Operands = Readonly<Record<string, Tensor | Weight | undefined>>;
type Dims = Record<string, number>;

/** Throws the first fault found; returns the extents of the signature's dims. Changes nothing. */
export function checkOperands(backend: Backend, op: Op, io: Operands, attrs: object): Dims {
  const dims: Dims = {};
  const origin: Record<string, string> = {};
  const { entries, names, attrNames } = planOf(op);
  checkNames(op, 'io', io, names);
  checkNames(op, 'attrs', attrs, attrNames);
  for (const [name, operand] of entries) {
    const value = io[name];
    if (value === undefined) {
      if (operand.optional) continue;
      throw invalidArgument(op.name, name, 'absent', describe(operand, dims, origin));
    }
    checkValue(backend, op, name, operand, value);
    bindDims(op, name, operand, value, dims, origin);
  }
  for (const [name, operand] of entries) {
    if (operand.kind === 'tensor' && operand.index && io[name]) checkIndexList(op, name, operand, io[name] as Tensor, dims);
  }
  checkAliases(op, io);
  op.check?.({
    io: io as IoOf<Op>,
    dims,
    attrs,
    fail: (argument: string, got: unknown, expected: string) => {
      throw invalidArgument(op.name, argument, String(got), expected);
    },
  });
  return dims;
}

/** What is read off an op's signature once: `run` may be called thousands of times for a token. */
interface Plan {
  entries: readonly [name: string, operand: Operand][];
  names: ReadonlySet<string>;
  attrNames: ReadonlySet<string>;
  /** Tensors that the op writes. */
  written: readonly string[];
}

const plans = new WeakMap<Op, Plan>();

export function planOf(op: Op): Plan {
  let plan = plans.get(op);
  if (!plan) {
    const entries = Object.entries(op.io) as [string, Operand][];
    const written = entries.filter(([, operand]) => operand.kind === 'tensor' && operand.access !== 'in').map(([name]) => name);
    plan = { entries, names: new Set(Object.keys(op.io)), attrNames: new Set(op.attrs), written };
    plans.set(op, plan);
  }
  return plan;
}

/** Operands and attributes by their right names: a misspelt one would be ignored. */
function checkNames(op: Op, argument: 'io' | 'attrs', given: object, known: ReadonlySet<string>): void {
  if (typeof given !== 'object' || given === null) throw invalidArgument(op.name, argument, String(given), 'an object');
  let unknown: string | undefined;
  for (const name in given) if (!known.has(name)) unknown ??= name;
  if (unknown === undefined) return;
  const expected = known.size > 0 ? `one of ${[...known].join(', ')}` : 'none: the op has no attributes';
  throw invalidArgument(op.name, unknown, argument === 'io' ? 'not an operand' : 'not an attribute', expected);
}

function checkValue(backend: Backend, op: Op, name: string, operand: Operand, value: unknown): void {
  const isRightKind = operand.kind === 'weight' ? value instanceof Weight : value instanceof Tensor;
  if (!isRightKind) {
    throw invalidArgument(
      op.name,
      name,
      `a ${value === null ? 'null' : typeof value}`,
      operand.kind === 'weight' ? 'a Weight made by pack' : 'a Tensor',
    );
  }
  const held = value as Tensor | Weight;
  checkHeld(backend, op.name, name, held);
  if (operand.kind === 'tensor' && (held as Tensor).dtype !== operand.dtype) {
    throw invalidArgument(op.name, name, (held as Tensor).dtype, operand.dtype);
  }
  if (operand.kind === 'weight' && operand.parts && (held as Weight).parts !== operand.parts) {
    throw invalidArgument(op.name, name, `a weight of ${(held as Weight).parts} part(s)`, `${operand.parts}`);
  }
}

/** Live memory of this backend. */
export function checkHeld(backend: Backend, op: string, name: string, held: Tensor | Weight): void {
  if (held.disposed) {
    throw new SkipVisionError('disposed', `${op}: ${name} was disposed`, {
      op,
      argument: name,
      got: 'disposed',
      expected: 'live memory',
    });
  }
  if (held.backend !== backend) {
    throw new SkipVisionError('wrong-backend', `${op}: ${name} belongs to another backend (${held.backend.name})`, {
      op,
      argument: name,
      got: `memory of a ${held.backend.name} backend`,
      expected: `memory of this ${backend.name} backend`,
    });
  }
}

function bindDims(op: Op, name: string, operand: Operand, value: Tensor | Weight, dims: Dims, origin: Record<string, string>): void {
  if (operand.dims[0] === '...') return;
  const { shape } = value;
  let fits = shape.length === operand.dims.length;
  for (let axis = 0; fits && axis < shape.length; axis++) {
    const dim = operand.dims[axis]!;
    if (dims[dim] === undefined) {
      dims[dim] = shape[axis]!;
      origin[dim] = name;
    }
    fits = dims[dim] === shape[axis];
  }
  if (!fits) throw invalidArgument(op.name, name, `[${shape.join(', ')}]`, describe(operand, dims, origin));
}

/** `f32 [T, D] with D = 4 (from x)` */
function describe(operand: Operand, dims: Dims, origin: Record<string, string>): string {
  const known = operand.dims
    .filter((dim: string) => dims[dim] !== undefined)
    .map((dim: string) => `${dim} = ${dims[dim]} (from ${origin[dim]})`);
  const kind = operand.kind === 'weight' ? 'a weight' : operand.dtype;
  return `${kind} [${operand.dims.join(', ')}]${known.length ? ` with ${known.join(', ')}` : ''}`;
}

function checkIndexList(op: Op, name: string, operand: TensorOperand, tensor: Tensor, dims: Dims): void {
  const host = tensor.storage.host;
  if (!host)
    throw invalidArgument(
      op.name,
      name,
      'an index list that was computed on the device',
      'one made by upload, so that it can be checked: read it and upload it',
    );
  const limit = operand.below === undefined ? Number.POSITIVE_INFINITY : dims[operand.below]!;
  for (let i = 0; i < tensor.size; i++) {
    const index = host[i]!;
    if (index >= limit) throw invalidArgument(op.name, name, `${index} at index ${i}`, `below ${operand.below} = ${limit}`);
    if (operand.index !== 'ids' && i > 0 && index <= host[i - 1]!) {
      throw invalidArgument(op.name, name, `${host[i - 1]} followed by ${index} at index ${i}`, 'a strictly ascending list');
    }
  }
}

/** No output may share memory with another operand: GPU bindings forbid it, and results would depend on the backend. */
function checkAliases(op: Op, io: Operands): void {
  const { written, entries } = planOf(op);
  for (const name of written) {
    const tensor = io[name] as Tensor | undefined;
    if (!tensor) continue;
    for (const [other] of entries) {
      const value = io[other];
      if (other !== name && value instanceof Tensor && sharesMemory(tensor, value))
        throw invalidArgument(op.name, name, `the same memory as ${other}`, 'memory of its own');
    }
  }
}

/** One allocation, or overlapping parts of the same borrowed memory. */
function sharesMemory({ storage: a }: Tensor, { storage: b }: Tensor): boolean {
  if (a === b) return true;
  if (!a.source || !b.source) return false;
  return a.source.memory === b.source.memory && a.source.start < b.source.end && b.source.start < a.source.end;
}
