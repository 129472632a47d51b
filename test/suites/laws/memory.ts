/** Laws about memory, order and ownership: what the seam promises. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { Op } from '../../../src/backend/bound-op.ts';
import { appendKv, embedding, linear } from '../../../src/ops/index.ts';
import { type BackendCase, deepEqual, identical, type Suite } from '../../harness.ts';
import { apply, f32, out, u32, type Values } from '../../operands.ts';
import { Random } from '../../random.ts';
import { OP_ROWS } from '../../table/rows.ts';
import { ffn, ffnOperands } from './ffn.ts';
import type { Law } from './law.ts';

export function memoryLaws(t: Suite, { name, lend, create }: BackendCase, law: Law): void {
  law('memory() returns to its start, and repeating the work holds no more', async (backend) => {
    const start = backend.memory();
    const reserved: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (const { op, cases } of OP_ROWS) await firstCases(backend, op, cases(new Random(round)), 6);
      const { tensors, weights } = backend.memory();
      deepEqual([tensors, weights], [start.tensors, start.weights], `bytes of tensors and weights after round ${round}`);
      reserved.push(backend.memory().reserved);
    }
    deepEqual(reserved.slice(2), [reserved[1], reserved[1]], `bytes held after rounds 2 and 3 (all rounds: ${reserved})`);
  });
  law('memory that was freed is used again, for tensors and for weights', async (backend) => {
    const data = new Float32Array(2 ** 18);
    const useAndFree = async () => {
      backend.upload(data).dispose();
      (await backend.pack({ data, shape: [512, 512] })).dispose();
      await backend.flush();
      return backend.memory().reserved;
    };
    for (let round = 0; round < 3; round++) await useAndFree();
    const reserved = await useAndFree();
    for (let round = 0; round < 12; round++) deepEqual(await useAndFree(), reserved, `bytes held after round ${round + 4}`);
  });
  law('memory() counts tensors and weights to the byte, views and borrowed memory as nothing', async (backend) => {
    const start = backend.memory();
    const tensor = backend.upload(new Float32Array(10), [2, 5]);
    const list = backend.empty({ dtype: 'u32', shape: [3] });
    const view = tensor.view([4]);
    const weight = await backend.pack({ data: new Float32Array(6), shape: [2, 3] });
    const used = backend.memory();
    deepEqual([used.tensors - start.tensors, used.weights - start.weights], [52, weight.bytes], 'bytes of tensors and weights');
    view.dispose();
    deepEqual(backend.memory().tensors, used.tensors, 'bytes of tensors after the view is gone');
    for (const held of [tensor, list, weight, tensor]) held.dispose();
    deepEqual([backend.memory().tensors, backend.memory().weights], [start.tensors, start.weights], 'bytes in the end');
  });
  law('order of calls is order of execution: a read sees every run before it and none after', async (backend) => {
    const unit = await backend.pack({ data: Float32Array.of(1), shape: [1, 1] });
    using x = backend.upload(Float32Array.of(1), [1, 1]);
    using sum = backend.upload(Float32Array.of(0), [1, 1]);
    const reads: Promise<Float32Array>[] = [];
    for (let i = 0; i < 40; i++) {
      backend.run(linear, { x, weight: unit, y: sum }, { accumulate: true });
      reads.push(backend.read(sum));
    }
    const values = (await Promise.all(reads)).map(([value]) => value);
    deepEqual(
      values,
      Array.from({ length: 40 }, (_, i) => i + 1),
      'what the reads saw',
    );
    unit.dispose();
  });
  law('trace reports every op that runs, until disposed', async (backend) => {
    const seen: string[] = [];
    const values: Values = { table: f32(new Float32Array(4), 2, 2), ids: u32(Uint32Array.of(1)), y: out(1, 2) };
    const trace = backend.trace(({ op, flops, bytes }) => {
      if (bytes > 0 || flops > 0) seen.push(op);
    });
    await apply(backend, embedding, values, {});
    await apply(backend, embedding, values, {});
    trace[Symbol.dispose]();
    await apply(backend, embedding, values, {});
    deepEqual(seen, ['embedding', 'embedding'], 'ops traced');
  });
  if (!lend) {
    t.skip(`borrowed memory survives dispose [${name}]`, 'this runtime lends none');
    return;
  }
  t.test(`borrowed memory is written in place, survives dispose and is counted as nothing [${name}]`, async () => {
    const lent = await lend(Float32Array.of(3, 4, 5, 6));
    const { tensors } = lent.backend.memory();
    const tensor = lent.backend.borrow(lent.handle, { dtype: 'f32', shape: [1, 2, 2] });
    deepEqual(lent.backend.memory().tensors, tensors, 'bytes of tensors');
    const row = lent.backend.upload(Float32Array.of(7, 8), [1, 1, 2]);
    using v = lent.backend.upload(new Float32Array(4), [1, 2, 2]);
    lent.backend.run(appendKv, { kNew: row, vNew: row, k: tensor, v }, { at: 1 });
    identical(await lent.backend.read(tensor), Float32Array.of(3, 4, 7, 8), 'the tensor');
    row.dispose();
    tensor.dispose();
    identical(await lent.read(), Float32Array.of(3, 4, 7, 8), 'the memory after the tensor is gone');
    await lent.backend[Symbol.asyncDispose]();
    identical(await lent.read(), Float32Array.of(3, 4, 7, 8), 'the memory after the backend is gone');
    lent.release();
  });
  t.test(`two backends side by side do not disturb each other [${name}]`, async () => {
    await using first = await create();
    await using second = await create();
    const values = ffnOperands(new Random(30));
    const want = await ffn(first, values);
    const [a, b] = await Promise.all([ffn(first, values), ffn(second, values)]);
    identical(a, want, 'result of the first');
    identical(b, want, 'result of the second');
  });
}

async function firstCases(backend: Backend, op: Op, cases: Iterable<{ values: Values; attrs: object }>, count: number): Promise<void> {
  for (const { values, attrs } of cases) {
    if (count-- === 0) return;
    await apply(backend, op, values, attrs);
  }
}
