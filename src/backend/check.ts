/** The checks above the backends: an op's signature against the operands it was given. */
import type { Backend } from './backend.ts';
import { invalidArgument, SkipVisionError } from './errors.ts';
import type { IoOf, Op, Operand, TensorOperand } from './op.ts';
import { ARRAYS, Tensor } from './tensor.ts';
import { Weight } from './weight.ts';

type Operands = Readonly<Record<string, Tensor | Weight | undefined>>;
type Dims = Record<string, number>;

/** Throws the first fault found; returns the extents of the signature's dims. Changes nothing. */
export function checkOperands(backend: Backend, op: Op, io: Operands, attrs: object): Dims {
  const dims: Dims = {};
  const origin: Record<string, string> = {};
  checkNames(op, 'io', io, Object.keys(op.io));
  checkNames(op, 'attrs', attrs, op.attrs);
  for (const [name, operand] of Object.entries(op.io) as [string, Operand][]) {
    const value = io[name];
    if (value === undefined) {
      if (operand.optional) continue;
      throw invalidArgument(op.name, name, 'absent', describe(operand, dims, origin));
    }
    checkValue(backend, op, name, operand, value);
    if (operand.kind === 'tensor') checkDType(op, name, operand, value as Tensor, dims, origin);
    bindDims(op, name, operand, value, dims, origin);
  }
  for (const [name, operand] of Object.entries(op.io) as [string, Operand][]) {
    const value = io[name];
    if (value instanceof Tensor && operand.kind === 'tensor' && operand.index) checkIndexList(op, name, operand, value, dims);
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

/** Operands and attributes by their right names: a misspelt one would be ignored. */
function checkNames(op: Op, argument: 'io' | 'attrs', given: object, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null) throw invalidArgument(op.name, argument, String(given), 'an object');
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  const expected = known.length > 0 ? `one of ${known.join(', ')}` : 'none: the op has no attributes';
  if (unknown !== undefined) throw invalidArgument(op.name, unknown, argument === 'io' ? 'not an operand' : 'not an attribute', expected);
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

/** The dtype of the signature; where that leaves a choice, the first operand makes it for all. */
function checkDType(
  op: Op,
  name: string,
  { dtype, orF16 }: TensorOperand,
  tensor: Tensor,
  dims: Dims,
  origin: Record<string, string>,
): void {
  const fits = tensor.dtype === dtype || (orF16 && tensor.dtype === 'f16');
  if (!fits) throw invalidArgument(op.name, name, tensor.dtype, orF16 ? 'f32 or f16' : dtype);
  if (!orF16) return;
  const { BYTES_PER_ELEMENT: bytes } = ARRAYS[tensor.dtype];
  dims.E ??= bytes;
  origin.E ??= name;
  if (dims.E !== bytes) throw invalidArgument(op.name, name, tensor.dtype, `the dtype of ${origin.E}`);
}

function bindDims(op: Op, name: string, operand: Operand, value: Tensor | Weight, dims: Dims, origin: Record<string, string>): void {
  if (operand.dims[0] === '...') return;
  const got = `[${value.shape.join(', ')}]`;
  if (value.shape.length !== operand.dims.length) throw invalidArgument(op.name, name, got, describe(operand, dims, origin));
  operand.dims.forEach((dim: string, axis: number) => {
    const extent = value.shape[axis]!;
    if (dims[dim] === undefined) {
      dims[dim] = extent;
      origin[dim] = name;
    } else if (dims[dim] !== extent) {
      throw invalidArgument(op.name, name, got, describe(operand, dims, origin));
    }
  });
}

/** `f32 [T, D] with D = 4 (from x)` */
function describe(operand: Operand, dims: Dims, origin: Record<string, string>): string {
  const known = operand.dims
    .filter((dim: string) => dims[dim] !== undefined)
    .map((dim: string) => `${dim} = ${dims[dim]} (from ${origin[dim]})`);
  const kind = operand.kind === 'weight' ? 'a weight' : operand.orF16 ? 'f32 or f16' : operand.dtype;
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
  const entries = Object.entries(io).filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor);
  const written = entries.filter(([name]) => (op.io[name] as TensorOperand).access !== 'in');
  for (const [name, tensor] of written) {
    for (const [other, otherTensor] of entries) {
      if (other !== name && sharesMemory(tensor, otherTensor))
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
