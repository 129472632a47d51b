/** The checks above the backends: an op's signature against the operands it was given. */
import type { Backend, Operands } from './backend.ts';
import { invalidArgument, show } from './errors.ts';
import { checkFields } from './fields.ts';
import { type AnyDefinition, listsOf, type Io, type Operand, type Signature, type SignatureLists, type TensorOperand } from './op.ts';
import { ARRAYS, offsetOf, type Storage, storageOf, Tensor } from './tensor.ts';
import { Weight } from './weight.ts';

type Dims = Record<string, number>;

/** Throws the first fault found; returns the extents of the signature's dims. Changes nothing. */
export function checkOperands(backend: Backend, op: AnyDefinition, lists: SignatureLists, io: Operands, attrs: object): Dims {
  checkNames(op, io);
  checkFields(op.name, attrs, op.attrs, 'attrs');
  const { operands, dims: dimNames } = lists;
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
  for (const { name, operand } of lists.indices) {
    const value = io[name];
    if (value) checkIndexList(op, name, operand as TensorOperand, value as Tensor, dims);
  }
  checkAliases(op, lists, io);
  op.check?.({
    io: io as Io<Signature>,
    dims,
    attrs,
    fail: (argument: string, got: unknown, expected: string) => {
      throw invalidArgument(op.name, argument, typeof got === 'string' ? got : show(got), expected);
    },
  });
  return dims;
}

/** Operands by their right names: a misspelt one would be ignored. */
function checkNames(op: AnyDefinition, io: Operands): void {
  if (typeof io !== 'object' || io === null) throw invalidArgument(op.name, 'io', show(io), 'an object');
  for (const name in io) {
    if (!Object.hasOwn(op.io, name) && Object.hasOwn(io, name)) {
      throw invalidArgument(op.name, name, 'not an operand', `one of ${Object.keys(op.io).join(', ')}`);
    }
  }
}

function checkValue(backend: Backend, op: AnyDefinition, name: string, operand: Operand, value: unknown): void {
  const isRightKind = operand.kind === 'weight' ? value instanceof Weight : value instanceof Tensor;
  if (!isRightKind) {
    throw invalidArgument(op.name, name, show(value), operand.kind === 'weight' ? 'a Weight made by pack' : 'a Tensor');
  }
  const held = value as Tensor | Weight;
  checkHeld(backend, op.name, name, held);
  if (operand.kind === 'weight' && operand.parts && (held as Weight).parts !== operand.parts) {
    throw invalidArgument(op.name, name, `a weight of ${(held as Weight).parts} part(s)`, `${operand.parts}`);
  }
}

/** Live memory of this backend. */
export function checkHeld(backend: Backend, op: string, name: string, held: Tensor | Weight): void {
  if (held.disposed) throw invalidArgument(op, name, 'disposed', 'live memory', 'disposed');
  if (held.backend !== backend) {
    const [got, expected] = [`memory of a ${held.backend.name} backend`, `memory of this ${backend.name} backend`];
    throw invalidArgument(op, name, got, expected, 'wrong-backend');
  }
}

/** Refuses other dtypes. All operands declared `orF16` have one in a call: returns the bytes of its elements, which the first of them sets. */
function checkDType(op: AnyDefinition, name: string, { dtype, orF16 }: TensorOperand, tensor: Tensor, chosen?: number): number | undefined {
  if (tensor.dtype !== dtype && !(orF16 && tensor.dtype === 'f16')) {
    throw invalidArgument(op.name, name, tensor.dtype, orF16 ? 'f32 or f16' : dtype);
  }
  if (!orF16) return chosen;
  const { BYTES_PER_ELEMENT: bytes } = ARRAYS[tensor.dtype];
  if (chosen && bytes !== chosen)
    throw invalidArgument(op.name, name, tensor.dtype, `${chosen === 4 ? 'f32' : 'f16'}, as the operands before it`);
  return bytes;
}

/** Whether a shape has the known extents of its axes. Those not known yet (-1) are taken from it. */
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
function describe(op: AnyDefinition, name: string, io: Operands): string {
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

function checkIndexList(op: AnyDefinition, name: string, operand: TensorOperand, list: Tensor, dims: Dims): void {
  const storage = storageOf(list);
  const start = offsetOf(list);
  const end = start + list.size;
  const limit = operand.below === undefined ? Number.POSITIVE_INFINITY : dims[operand.below]!;
  const anyOrder = operand.index === 'ids';
  const { host, known } = storage;
  const isKnown = known && known.start <= start && end <= known.end;
  if (isKnown && known.below <= limit && (anyOrder || known.ascending)) return;
  if (!host) {
    const what = isKnown ? `${known.ascending ? 'ascending' : 'in any order'} and below ${known.below}` : 'of unknown contents';
    const bound = operand.below === undefined ? '' : ` below ${operand.below} = ${limit}`;
    const expected = `${anyOrder ? 'a list' : 'an ascending list'}${bound}, uploaded or promised by the op that wrote it`;
    throw invalidArgument(op.name, name, `a list computed on the device, ${what}`, expected);
  }
  let most = -1;
  for (let i = start; i < end; i++) {
    const index = host[i]!;
    if (index >= limit) throw invalidArgument(op.name, name, `${index} at index ${i - start}`, `below ${operand.below} = ${limit}`);
    if (!anyOrder && i > start && index <= host[i - 1]!) {
      throw invalidArgument(op.name, name, `${host[i - 1]} followed by ${index} at index ${i - start}`, 'a strictly ascending list');
    }
    most = Math.max(most, index);
  }
  storage.known = { start, end, ascending: !anyOrder, below: most + 1 };
}

/** Before an op runs: what it writes is no longer what was known of it. */
export function forgetWritten({ written }: SignatureLists, io: Operands): void {
  for (const { name } of written) {
    const value = io[name];
    if (!value) continue;
    const storage = storageOf(value as Tensor);
    storage.host = undefined;
    storage.known = undefined;
  }
}

/** After it ran: what its signature promises of the lists it wrote. Not of borrowed memory, which the caller may write at any time. */
export function keepPromises({ promised }: SignatureLists, io: Operands, dims: Dims): void {
  for (const { name, operand } of promised) {
    const { index, below } = operand as TensorOperand;
    const value = io[name] as Tensor | undefined;
    if (!value || storageOf(value).source) continue;
    const start = offsetOf(value);
    const limit = below === undefined ? Number.POSITIVE_INFINITY : dims[below]!;
    storageOf(value).known = { start, end: start + value.size, ascending: index !== 'ids', below: limit };
  }
}

/** No output may share memory with another operand: GPU bindings forbid it, and results would depend on the backend. */
function checkAliases(op: AnyDefinition, { operands }: SignatureLists, io: Operands): void {
  const storages: (Storage | undefined)[] = [];
  for (const { name, operand } of operands) {
    const value = io[name];
    storages.push(value && operand.kind === 'tensor' ? storageOf(value as Tensor) : undefined);
  }
  for (let i = 0; i < operands.length; i++) {
    const storage = storages[i];
    if (!storage || !operands[i]!.isWritten) continue;
    for (let j = 0; j < operands.length; j++) {
      const other = storages[j];
      if (!other || i === j || (storage !== other && !(storage.source && overlaps(storage, other)))) continue;
      throw invalidArgument(op.name, operands[i]!.name, `the same memory as ${operands[j]!.name}`, 'memory of its own');
    }
  }
}

/** Parts of the same borrowed memory. */
function overlaps({ source: a }: Storage, { source: b }: Storage): boolean {
  return !!a && !!b && a.memory === b.memory && a.start < b.end && b.start < a.end;
}
