/** The checks above the backends: an op's signature against the operands it was given. */
import type { Backend } from './backend.ts';
import { invalidArgument, SkipVisionError } from './errors.ts';
import { type IoOf, listsOf, type Op, type Operand, type SignatureLists, type TensorOperand } from './op.ts';
import { ARRAYS, type Storage, Tensor } from './tensor.ts';
import { Weight } from './weight.ts';

type Operands = Readonly<Record<string, Tensor | Weight | undefined>>;
type Dims = Record<string, number>;

/** Throws the first fault found; returns the extents of the signature's dims. Changes nothing. */
export function checkOperands(backend: Backend, op: Op, io: Operands, attrs: object): Dims {
  checkNames(op, 'io', io);
  checkNames(op, 'attrs', attrs);
  const { operands, dims: dimNames } = listsOf(op.io);
  const extents = dimNames.map(() => -1);
  let elementBytes: number | undefined; // of operands that may be f32 or f16
  for (const { name, operand, axes } of operands) {
    const value = io[name];
    if (value === undefined) {
      if (operand.optional) continue;
      throw invalidArgument(op.name, name, 'absent', describe(op, name, io));
    }
    checkValue(backend, op, name, operand, value);
    if (operand.kind === 'tensor') elementBytes = checkDType(op, name, operand, value as Tensor, elementBytes);
    if (!bindDims(axes, value.shape, extents)) throw invalidArgument(op.name, name, `[${value.shape.join(', ')}]`, describe(op, name, io));
  }
  const dims: Dims = elementBytes ? { E: elementBytes } : {};
  for (let i = 0; i < extents.length; i++) if (extents[i]! >= 0) dims[dimNames[i]!] = extents[i]!;
  for (const { name, operand } of operands) {
    const value = io[name];
    if (value instanceof Tensor && operand.kind === 'tensor' && operand.index) checkIndexList(op, name, operand, value, dims);
  }
  checkAliases(op, operands, io);
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
function checkNames(op: Op, argument: 'io' | 'attrs', given: object): void {
  if (typeof given !== 'object' || given === null) throw invalidArgument(op.name, argument, String(given), 'an object');
  for (const name in given) {
    const isKnown = argument === 'io' ? Object.hasOwn(op.io, name) : op.attrs.includes(name);
    if (!isKnown && Object.hasOwn(given, name)) throw unknownName(op, argument, name);
  }
}

function unknownName(op: Op, argument: 'io' | 'attrs', name: string): SkipVisionError {
  const known = argument === 'io' ? Object.keys(op.io) : op.attrs;
  const expected = known.length > 0 ? `one of ${known.join(', ')}` : 'none: the op has no attributes';
  return invalidArgument(op.name, name, argument === 'io' ? 'not an operand' : 'not an attribute', expected);
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

/** The dtype of the signature; where that leaves a choice, the first operand makes it for all: returns the bytes of its elements. */
function checkDType(op: Op, name: string, { dtype, orF16 }: TensorOperand, tensor: Tensor, chosen?: number): number | undefined {
  if (tensor.dtype !== dtype && !(orF16 && tensor.dtype === 'f16')) {
    throw invalidArgument(op.name, name, tensor.dtype, orF16 ? 'f32 or f16' : dtype);
  }
  if (!orF16) return chosen;
  const { BYTES_PER_ELEMENT: bytes } = ARRAYS[tensor.dtype];
  if (chosen && bytes !== chosen)
    throw invalidArgument(op.name, name, tensor.dtype, `${chosen === 4 ? 'f32' : 'f16'}, as the operands before it`);
  return bytes;
}

/** Whether a shape has the extents that are known of its axes; those not known (-1) are as it has them. */
function bindDims(axes: readonly number[], shape: readonly number[], extents: number[]): boolean {
  if (axes[0] === -1) return true; // any shape
  if (shape.length !== axes.length) return false;
  for (let i = 0; i < axes.length; i++) {
    const axis = axes[i]!;
    if (extents[axis] === -1) extents[axis] = shape[i]!;
    else if (extents[axis] !== shape[i]) return false;
  }
  return true;
}

/** `f32 [T, D] with D = 4 (from x)`: what operand `name` must be, by the axes that were bound before one did not fit. */
function describe(op: Op, name: string, io: Operands): string {
  const { operands, dims } = listsOf(op.io);
  const extents = dims.map(() => -1);
  const origin: Record<string, string> = {};
  for (const { name: from, axes } of operands) {
    if (io[from]) bindDims(axes, io[from].shape, extents);
    for (const [i, dim] of dims.entries()) if (extents[i]! >= 0) origin[dim] ??= `${dim} = ${extents[i]} (from ${from})`;
    if (from === name) break;
  }
  const operand: Operand = op.io[name];
  const known = operand.dims.flatMap((dim: string) => origin[dim] ?? []);
  const kind = operand.kind === 'weight' ? 'a weight' : operand.orF16 ? 'f32 or f16' : operand.dtype;
  return `${kind} [${operand.dims.join(', ')}]${known.length ? ` with ${known.join(', ')}` : ''}`;
}

function checkIndexList(op: Op, name: string, operand: TensorOperand, { storage, size }: Tensor, dims: Dims): void {
  const { host, scanned } = storage;
  if (!host)
    throw invalidArgument(
      op.name,
      name,
      'an index list that was computed on the device',
      'one made by upload, so that it can be checked: read it and upload it',
    );
  const limit = operand.below === undefined ? Number.POSITIVE_INFINITY : dims[operand.below]!;
  const anyOrder = operand.index === 'ids';
  if (scanned && size === scanned.size && scanned.most < limit && (anyOrder || scanned.ascending)) return;
  let most = -1;
  for (let i = 0; i < size; i++) {
    const index = host[i]!;
    if (index >= limit) throw invalidArgument(op.name, name, `${index} at index ${i}`, `below ${operand.below} = ${limit}`);
    if (!anyOrder && i > 0 && index <= host[i - 1]!) {
      throw invalidArgument(op.name, name, `${host[i - 1]} followed by ${index} at index ${i}`, 'a strictly ascending list');
    }
    most = Math.max(most, index);
  }
  storage.scanned = { size, ascending: !anyOrder, most };
}

/** No output may share memory with another operand: GPU bindings forbid it, and results would depend on the backend. */
function checkAliases(op: Op, operands: SignatureLists['operands'], io: Operands): void {
  const storages = operands.map(({ name }) => {
    const value = io[name];
    return value instanceof Tensor ? value.storage : undefined;
  });
  for (let i = 0; i < operands.length; i++) {
    const storage = storages[i];
    if (!storage || !operands[i]!.isWritten) continue;
    for (let j = 0; j < operands.length; j++) {
      const other = storages[j];
      if (i !== j && other && (storage === other || overlaps(storage, other)))
        throw invalidArgument(op.name, operands[i]!.name, `the same memory as ${operands[j]!.name}`, 'memory of its own');
    }
  }
}

/** Parts of the same borrowed memory. */
function overlaps({ source: a }: Storage, { source: b }: Storage): boolean {
  return !!a && !!b && a.memory === b.memory && a.start < b.end && b.start < a.end;
}
