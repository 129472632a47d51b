/** Every op on every backend against the reference backend, at the sizes and row lists where loops turn over. */
import type { Backend } from '../../src/backend/backend.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import * as ops from '../../src/ops/index.ts';
import { close, deepEqual, equal, identical, ok, opener, type BackendCase, type Suite } from '../harness.ts';
import { apply, packedAs, type Results } from '../operands.ts';
import { Random } from '../random.ts';
import type { OpCase, OpRow } from '../table/row.ts';
import { OP_ROWS } from '../table/rows.ts';
import { quantizedTolerance, tolerance } from '../tolerance.ts';

export function opsSuite(t: Suite): void {
  t.test('the table has a row for every op', () => {
    const names = Object.values(ops).flatMap((value) => (typeof value === 'object' && 'reference' in value ? [value.definition.name] : []));
    deepEqual(OP_ROWS.map(({ op }) => op.definition.name).sort(), names.sort(), 'ops of the table');
  });
  for (const backendCase of t.platform.backends) {
    // The reference is what the others are compared with; the conformance cases check it.
    if (backendCase.kind !== 'reference') compareBackend(t, backendCase);
  }
}

function compareBackend(t: Suite, { name, create, createFloat }: BackendCase): void {
  const open = opener(create);
  for (const row of OP_ROWS) {
    t.test(`${row.op.definition.name} [${name}]`, async () => {
      await using reference = createReferenceBackend();
      ok((await compareRow(row, await open(), reference)) > 0, 'the row has no cases');
    });
  }
  if (createFloat) {
    t.test(`q8 and q4 without integer products: within the tolerance of f32 [${name}]`, async () => {
      await using reference = createReferenceBackend();
      await using backend = await createFloat();
      let count = 0;
      for (const row of OP_ROWS) count += await compareRow({ ...row, cases: (random) => expanded(row.cases(random)) }, backend, reference);
      ok(count > 0, 'no row has quantized cases');
    });
  }
  t.test(`all memory is back [${name}]`, async () => {
    await using backend = await open();
    const { tensors, weights } = backend.memory();
    equal(tensors, 0, 'bytes of tensors');
    equal(weights, 0, 'bytes of weights');
  });
}

/** The cases of quantized weights, to be compared as if they were floats: the reference has the same codes. */
function* expanded(cases: Iterable<OpCase>): Generator<OpCase> {
  for (const each of cases) if (each.dtype === 'q8' || each.dtype === 'q4') yield { ...each, products: 0 };
}

/** Runs all cases of a row, returns how many, and throws one error for those that fail: which sizes fail says where the fault is. */
export async function compareRow({ op, cases }: OpRow, backend: Backend, reference: Backend): Promise<number> {
  const failures: string[] = [];
  let count = 0;
  for (const opCase of cases(new Random(0x5eed))) {
    const { attrs, dtype = 'f32' } = opCase;
    count++;
    try {
      const values = packedAs(opCase.values, dtype);
      compareResults(await apply(backend, op, values, attrs), await apply(reference, op, values, attrs), opCase);
    } catch (error) {
      failures.push(`${opCase.title}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failures.length) {
    const more = failures.length > 12 ? `\n  and ${failures.length - 12} more` : '';
    throw new Error(`${failures.length} of ${count} cases of ${op.definition.name} fail\n  ${failures.slice(0, 12).join('\n  ')}${more}`);
  }
  return count;
}

function compareResults(actual: Results, expected: Results, { sums, exact, dtype, products, defined = {} }: OpCase): void {
  for (const [name, everything] of Object.entries(expected)) {
    const part = defined[name];
    const [got, want] = part ? [part(actual[name]!), part(everything)] : [actual[name]!, everything];
    if (exact || !(want instanceof Float32Array)) identical(got, want, name);
    else close(got, want, (products === 0 ? undefined : quantizedTolerance(dtype, products)) ?? tolerance(sums, want), name);
  }
}
