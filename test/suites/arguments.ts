/**
 * Arguments of ops and of the backend's calls that are of wrong types, out of range, left out or too many: made from the declarations,
 * so that a new op or option is held against them without a line here.
 */
import { type Backend, SIGNAL_OPTION } from '../../src/backend/backend.ts';
import { PACK_OPTIONS, TRACE_OPTIONS } from '../../src/backend/create.ts';
import type { AnyField } from '../../src/backend/fields.ts';
import type { AnyDefinition, IoOf, Signature } from '../../src/backend/op.ts';
import type { Op } from '../../src/backend/bound-op.ts';
import { deepEqual, ok, throwsCode } from '../harness.ts';
import { disposeAll, place } from '../operands.ts';
import { BAD_CALLS } from '../table/bad-calls.ts';
import { OP_ROWS } from '../table/rows.ts';
import { NO_OBJECTS, SAMPLES, wrongValues } from '../wrong-values.ts';

export function argumentTests(test: (name: string, run: (backend: Backend) => Promise<void>) => void): void {
  for (const { op } of OP_ROWS) test(`${op.definition.name}: arguments of wrong types`, (backend) => refuseAll(backend, op));
  test('pack, read, flush, pause, trace: options of wrong types', refuseOptions);
  test('upload, empty, borrow, read, trace, run: arguments of wrong types', refuseArguments);
}

/** Every operand and attribute left out, of a wrong type and out of its range, and one too many: made from the op's own declarations. */
async function refuseAll(backend: Backend, op: Op): Promise<void> {
  const { name, attrs: fields } = op.definition as AnyDefinition;
  const signature: Signature = op.definition.io;
  const call = BAD_CALLS.find((each) => each.op === op);
  ok(call, `the table of bad calls has none of ${name}`);
  const { attrs } = call;
  const placed = await place(backend, call.good);
  const { tensors, weights } = backend.memory();
  const refused = (io: unknown, given: unknown, argument: string) =>
    throwsCode(() => backend.run(op, io as IoOf<Op>, given as object), 'invalid-argument', { op: name, argument });
  for (const wrong of [undefined, ...NO_OBJECTS]) {
    await refused(wrong, attrs, 'io');
    await refused(placed, wrong, 'attrs');
  }
  await refused({ ...placed, operand: placed }, attrs, 'operand');
  await refused(placed, { ...attrs, attribute: undefined }, 'attribute');
  for (const [operand, { optional }] of Object.entries(signature)) {
    if (!optional) await refused({ ...placed, [operand]: undefined }, attrs, operand);
    for (const wrong of SAMPLES) await refused({ ...placed, [operand]: wrong }, attrs, operand);
  }
  for (const [attribute, field] of Object.entries(fields)) {
    if (!field.optional) await refused(placed, { ...attrs, [attribute]: undefined }, attribute);
    for (const wrong of wrongValues(field)) await refused(placed, { ...attrs, [attribute]: wrong }, attribute);
  }
  deepEqual([backend.memory().tensors, backend.memory().weights], [tensors, weights], 'bytes of tensors and weights');
  disposeAll(placed);
}

type Call = (...args: unknown[]) => unknown;

/** `refused(op, argument, ...args)`: the backend's method of this name refuses the argument. */
const refusedBy =
  (backend: Backend) =>
  (op: string, argument: string, ...args: unknown[]) =>
    throwsCode(() => (backend as unknown as Record<string, Call>)[op]!(...args), 'invalid-argument', { op, argument });

async function refuseOptions(backend: Backend): Promise<void> {
  using tensor = backend.upload(new Float32Array(4));
  const { tensors, weights } = backend.memory();
  const refused = refusedBy(backend);
  const calls: [op: string, first: unknown[], fields: Readonly<Record<string, AnyField>>][] = [
    ['pack', [{ data: new Float32Array(4), shape: [2, 2] }], PACK_OPTIONS],
    ['read', [tensor], SIGNAL_OPTION],
    ['flush', [], SIGNAL_OPTION],
    ['pause', [], SIGNAL_OPTION],
    ['trace', [() => {}], TRACE_OPTIONS],
  ];
  for (const [op, first, fields] of calls) {
    for (const wrong of NO_OBJECTS) await refused(op, 'options', ...first, wrong);
    await refused(op, 'option', ...first, { option: 1 });
    for (const [name, field] of Object.entries(fields))
      for (const wrong of wrongValues(field)) await refused(op, name, ...first, { [name]: wrong });
  }
  deepEqual([backend.memory().tensors, backend.memory().weights], [tensors, weights], 'bytes of tensors and weights');
}

async function refuseArguments(backend: Backend): Promise<void> {
  const four = new Float32Array(4);
  const { tensors, weights } = backend.memory();
  const refused = refusedBy(backend);
  const notArrays = SAMPLES.filter((sample) => !Array.isArray(sample) && !ArrayBuffer.isView(sample));
  for (const wrong of notArrays) {
    await refused('upload', 'data', wrong);
    await refused('upload', 'shape', four, wrong);
    await refused('empty', 'dtype', { dtype: wrong, shape: [4] });
    await refused('empty', 'shape', { dtype: 'f32', shape: wrong });
    await refused('borrow', 'dtype', four, { dtype: wrong, shape: [4] });
    await refused('borrow', 'handle', wrong, { dtype: 'f32', shape: [4] });
    await refused('read', 'tensor', wrong);
    if (typeof wrong !== 'function') await refused('trace', 'sink', wrong);
    await refused('run', 'op', wrong, {}, {});
  }
  for (const call of ['upload', 'read', 'trace', 'run'])
    await refused(call, { upload: 'data', read: 'tensor', trace: 'sink', run: 'op' }[call]!);
  for (const wrong of [undefined, ...NO_OBJECTS]) {
    await refused('empty', 'desc', wrong);
    await refused('borrow', 'desc', four, wrong);
    await refused('pack', 'data', wrong);
  }
  for (const extent of [4n, '4', Symbol('4'), null, undefined, -1, 0.5]) {
    await refused('upload', 'shape', four, [extent]);
    await refused('pack', 'shape', { data: four, shape: [extent, 2] });
  }
  deepEqual([backend.memory().tensors, backend.memory().weights], [tensors, weights], 'bytes of tensors and weights');
}
