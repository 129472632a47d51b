/**
 * Every bad input that the seam must refuse, on every backend: with the code, op and argument, with what it got and what it
 * takes, before anything was changed.
 */
import type { Backend } from '../../src/backend/backend.ts';
import type { ErrorCode } from '../../src/backend/errors.ts';
import type { IoOf } from '../../src/backend/op.ts';
import type { Op } from '../../src/backend/bound-op.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { Tensor } from '../../src/backend/tensor.ts';
import type { Weight } from '../../src/backend/weight.ts';
import { BAD_CALLS, type BadCall } from '../table/bad-calls.ts';
import { type BackendCase, deepEqual, equal, identical, ok, opener, type Suite, throwsCode } from '../harness.ts';
import { disposeAll, f32, matrix, out, place, type Values } from '../operands.ts';
import { Random } from '../random.ts';
import { argumentTests } from './arguments.ts';
import { gatheredFfn, linear, rmsNorm, rope, topKRows } from '../../src/ops/index.ts';
import { rmsNormOnWasm, rmsNormOnWebGpu } from '../../src/ops/rms-norm.ts';

type Placed = Record<string, Tensor | Weight>;

export function errorsSuite(t: Suite): void {
  for (const backendCase of t.platform.backends) {
    const open = opener(backendCase.create);
    const test = (name: string, run: (backend: Backend) => Promise<void>) =>
      t.test(`${name} [${backendCase.name}]`, async () => run(await open()));
    for (const call of BAD_CALLS) test(`${call.op.definition.name}: ${call.title}`, (backend) => refuse(backend, call));
    argumentTests(test);
    ownershipTests(test);
    memoryTests(test);
    disposalTests(t, backendCase);
    test('nothing was left behind', async (backend) => {
      const { tensors, weights } = backend.memory();
      await backend[Symbol.asyncDispose]();
      deepEqual([tensors, weights], [0, 0], 'bytes of tensors and weights');
    });
  }
}

type Test = (name: string, run: (backend: Backend) => Promise<void>) => void;

async function refuse(backend: Backend, { op, good, bad, attrs, badAttrs, argument, code = 'invalid-argument' }: BadCall): Promise<void> {
  const fine = await place(backend, good);
  backend.run(op, fine, attrs); // so that the call below is refused for its fault and for nothing else
  disposeAll(fine);
  const placed = await place(backend, { ...good, ...bad });
  try {
    await refusedWith(backend, op, placed, { ...attrs, ...badAttrs }, code, argument);
  } finally {
    disposeAll(placed);
  }
}

/** The call throws at once, with the right error, and leaves every operand and the accounting as they were. */
async function refusedWith(
  backend: Backend,
  op: Op,
  io: Readonly<Record<string, unknown>>,
  attrs: object,
  code: ErrorCode,
  argument: string,
): Promise<void> {
  const readAll = () =>
    Promise.all(
      Object.values(io).map((held) =>
        held instanceof Tensor && held.backend === backend && !held.disposed ? backend.read(held) : undefined,
      ),
    );
  const memory = backend.memory();
  const before = await readAll();
  let returned = false;
  await throwsCode(
    () => {
      backend.run(op, io as IoOf<Op>, attrs);
      returned = true;
    },
    code,
    { op: op.definition.name, argument },
  );
  equal(returned, false, 'whether run returned');
  const after = await readAll();
  Object.keys(io).forEach((name, i) => {
    if (before[i]) identical(after[i]!, before[i], name);
  });
  const { tensors, weights } = backend.memory();
  deepEqual([tensors, weights], [memory.tensors, memory.weights], 'bytes of tensors and weights');
}

const NORM: Values = { x: f32(new Random(1).normal(12), 3, 4), weight: f32(new Random(2).normal(4), 4), y: out(3, 4) };
const EPS = { eps: 1e-5 };
const FFN: Values = {
  x: f32(new Random(3).normal(8), 2, 4),
  up: matrix(new Float32Array(12), 3, 4),
  down: matrix(new Float32Array(12), 4, 3),
};

/** Faults in what the operands are and whose they are. */
function ownershipTests(test: Test): void {
  const withNorm = (
    name: string,
    code: ErrorCode,
    argument: string,
    spoil: (placed: Placed, backend: Backend) => Promise<Placed> | Placed,
  ) =>
    test(name, async (backend) => {
      const placed = await place(backend, NORM);
      try {
        await refusedWith(backend, rmsNorm, await spoil(placed, backend), EPS, code, argument);
      } finally {
        disposeAll(placed);
      }
    });

  withNorm('a disposed input', 'disposed', 'weight', (placed) => {
    placed.weight!.dispose();
    return placed;
  });
  withNorm('a disposed output', 'disposed', 'y', (placed) => {
    placed.y!.dispose();
    return placed;
  });
  withNorm('a view of a disposed tensor', 'disposed', 'x', (placed) => {
    const view = (placed.x as Tensor).view([3, 4]);
    placed.x!.dispose();
    return { ...placed, x: view };
  });
  withNorm('a tensor of another backend', 'wrong-backend', 'x', (placed) => ({
    ...placed,
    x: createReferenceBackend().upload(new Float32Array(12), [3, 4]),
  }));
  withNorm('an output that is an input', 'invalid-argument', 'y', (placed) => ({ ...placed, y: placed.x! }));
  withNorm('an output that is a view of an input', 'invalid-argument', 'y', (placed) => ({
    ...placed,
    y: (placed.x as Tensor).view([3, 4]),
  }));
  withNorm('an operand nobody knows', 'invalid-argument', 'bias', (placed) => ({ ...placed, bias: placed.weight! }));
  withNorm('an absent operand', 'invalid-argument', 'weight', ({ x, y }) => ({ x, y }) as Placed);
  withNorm('null for an operand', 'invalid-argument', 'weight', (placed) => ({ ...placed, weight: null }) as unknown as Placed);
  withNorm('an array for an operand', 'invalid-argument', 'x', (placed) => ({ ...placed, x: new Float32Array(12) }) as unknown as Placed);

  test('an op without a binding for this backend', async (backend) => {
    const placed = await place(backend, NORM);
    const { definition } = rmsNorm;
    const error = await throwsCode(() => backend.run({ definition }, placed as never, EPS), 'unsupported', {
      op: 'rms_norm',
      argument: 'op',
    });
    ok(error.message.includes('skip-vision/ops'), `"${error.message}" does not say where the op is to be had`);
    for (const elsewhere of [rmsNormOnWasm, rmsNormOnWebGpu]) {
      if (backend.name in elsewhere) backend.run(elsewhere, placed as never, EPS);
      else await refusedWith(backend, elsewhere, placed, EPS, 'unsupported', 'op');
    }
    disposeAll(placed);
  });
  test('a tensor where a weight belongs', async (backend) => {
    const values: Values = { x: f32(new Float32Array(4), 1, 4), weight: f32(new Float32Array(12), 3, 4), y: out(1, 3) };
    const placed = await place(backend, values);
    await refusedWith(backend, linear, placed, {}, 'invalid-argument', 'weight');
    disposeAll(placed);
  });
  test('a disposed weight, and one of another backend', async (backend) => {
    const values: Values = { x: f32(new Float32Array(4), 1, 4), weight: matrix(new Float32Array(12), 3, 4), y: out(1, 3) };
    const placed = await place(backend, values);
    await using other = createReferenceBackend();
    using foreign = await other.pack({ data: new Float32Array(12), shape: [3, 4] });
    await refusedWith(backend, linear, { ...placed, weight: foreign }, {}, 'wrong-backend', 'weight');
    placed.weight!.dispose();
    await refusedWith(backend, linear, placed, {}, 'disposed', 'weight');
    disposeAll(placed);
  });
  test('a row list that was computed on the device', async (backend) => {
    const placed = await place(backend, FFN);
    using rows = backend.empty({ dtype: 'u32', shape: [1] });
    await refusedWith(backend, gatheredFfn, { ...placed, rows }, { activation: 'silu' }, 'invalid-argument', 'rows');
    disposeAll(placed);
  });
  test('a row list that an op has overwritten since it was uploaded', async (backend) => {
    const placed = await place(backend, FFN);
    using rows = backend.upload(Uint32Array.of(0, 1));
    using scores = backend.upload(Float32Array.from({ length: 400 }, (_, i) => i));
    backend.run(gatheredFfn, { ...placed, rows } as unknown as IoOf<typeof gatheredFfn>, { activation: 'silu' });
    backend.run(topKRows, { scores, rows }, { k: 2 }); // now it holds 398 and 399
    await refusedWith(backend, gatheredFfn, { ...placed, rows }, { activation: 'silu' }, 'invalid-argument', 'rows');
    disposeAll(placed);
  });
  test('an attribute that the op does not have, and none at all', async (backend) => {
    const placed = await place(backend, { x: f32(new Float32Array(4), 2, 2), weight: f32(new Float32Array(2), 2), y: out(2, 2) });
    await refusedWith(backend, rmsNorm, placed, { eps: 1, epsilon: 1 }, 'invalid-argument', 'epsilon');
    await refusedWith(backend, rmsNorm, placed, undefined as unknown as object, 'invalid-argument', 'attrs');
    disposeAll(placed);
  });
  test('tables of the wrong width for rope', async (backend) => {
    const values: Values = {
      x: f32(new Random(4).normal(12), 1, 2, 6),
      cos: f32(new Float32Array(2), 1, 2),
      sin: f32(new Float32Array(2), 1, 2),
    };
    const placed = await place(backend, values);
    await refusedWith(backend, rope, placed, { layout: 'neox' }, 'invalid-argument', 'cos');
    disposeAll(placed);
  });
}

/** Faults in the calls that make, pack and read memory. */
function memoryTests(test: Test): void {
  const refused = (name: string, op: string, argument: string, call: (backend: Backend) => unknown) =>
    test(name, async (backend) => {
      const before = backend.memory();
      await throwsCode(() => call(backend), 'invalid-argument', { op, argument });
      deepEqual([backend.memory().tensors, backend.memory().weights], [before.tensors, before.weights], 'bytes of tensors and weights');
    });
  const four = new Float32Array(4);

  refused('upload: a shape of another size', 'upload', 'shape', (backend) => backend.upload(four, [2, 3]));
  refused('upload: a fractional extent', 'upload', 'shape', (backend) => backend.upload(four, [2.5, 1.6]));
  refused('upload: negative extents', 'upload', 'shape', (backend) => backend.upload(four, [-2, -2]));
  refused('upload: an Int8Array', 'upload', 'data', (backend) => backend.upload(new Int8Array(4) as unknown as Uint32Array));
  refused('upload: a plain array', 'upload', 'data', (backend) => backend.upload([1, 2] as unknown as Float32Array));
  refused('empty: a negative extent', 'empty', 'shape', (backend) => backend.empty({ dtype: 'f32', shape: [-1] }));
  refused('empty: NaN for an extent', 'empty', 'shape', (backend) => backend.empty({ dtype: 'f32', shape: [Number.NaN] }));
  refused('empty: an extent beyond all numbers', 'empty', 'shape', (backend) => backend.empty({ dtype: 'f32', shape: [2 ** 40, 2 ** 40] }));
  refused('borrow: memory that cannot be borrowed', 'borrow', 'handle', (backend) =>
    backend.borrow('nothing', { dtype: 'f32', shape: [4] }),
  );
  refused('empty: a dtype nobody knows', 'empty', 'dtype', (backend) => backend.empty({ dtype: 'f64' as 'f32', shape: [4] }));
  refused('empty: f16 of an odd width', 'empty', 'shape', (backend) => backend.empty({ dtype: 'f16', shape: [4, 3] }));
  refused('upload: f16 of an odd width', 'upload', 'shape', (backend) => backend.upload(new Uint16Array(3)));
  refused('upload: a number for a shape', 'upload', 'shape', (backend) => backend.upload(four, 4 as unknown as number[]));
  refused('read: nothing', 'read', 'tensor', (backend) => backend.read(undefined as unknown as Tensor));
  const bad = (data: unknown) => ({ data: data as Float32Array, shape: [2, 2] as const });
  refused('pack: a plain array', 'pack', 'data', (backend) => backend.pack(bad([1, 2, 3, 4])));
  refused('pack: a Float64Array', 'pack', 'data', (backend) => backend.pack(bad(new Float64Array(4))));
  refused('pack: a gate without up', 'pack', 'data', (backend) => backend.pack({ gate: bad(four) } as never));
  refused('pack: nothing', 'pack', 'data', (backend) => backend.pack(undefined as never));
  refused('pack: a vector', 'pack', 'shape', (backend) => backend.pack({ data: four, shape: [4] as unknown as [number, number] }));
  refused('pack: a shape of another size', 'pack', 'shape', (backend) => backend.pack({ data: four, shape: [2, 3] }));
  refused('pack: gate and up of different shapes', 'pack', 'up', (backend) =>
    backend.pack({ gate: { data: four, shape: [2, 2] }, up: { data: four, shape: [1, 4] } }),
  );
  const blocks = { format: 'q4_0', data: new Uint8Array(2 * 18), shape: [2, 32] } as const;
  const nbits = { format: 'matmul_nbits', data: new Uint8Array(2 * 48), scales: new Float32Array(6), shape: [2, 96] } as const;
  refused('pack: blocks with a part of a block', 'pack', 'shape', (backend) => backend.pack({ ...blocks, shape: [2, 33] }));
  refused('pack: too few bytes of blocks', 'pack', 'data', (backend) => backend.pack({ ...blocks, format: 'q8_0' }));
  refused('pack: blocks as floats', 'pack', 'data', (backend) => backend.pack({ ...blocks, data: four as unknown as Uint8Array }));
  refused('pack: a scale too few', 'pack', 'scales', (backend) => backend.pack({ ...nbits, scales: new Float32Array(5) }));
  refused('pack: zero points not padded to bytes', 'pack', 'zeroPoints', (backend) =>
    backend.pack({ ...nbits, zeroPoints: new Uint8Array(3) }),
  );
  refused('pack: a format nobody knows', 'pack', 'format', (backend) => backend.pack({ ...blocks, format: 'q4_9' as 'q4_0' }));
  refused('view: more than there is', 'view', 'shape', (backend) => {
    using tensor = backend.upload(four);
    return tensor.view([5]);
  });

  test('pack: a dtype nobody knows', async (backend) => {
    const weights = backend.memory().weights;
    const error = await throwsCode(() => backend.pack({ data: four, shape: [2, 2] }, { dtype: 'q1' as 'f32' }), 'unsupported', {
      op: 'pack',
      argument: 'dtype',
    });
    equal(error.got, 'q1', 'got');
    ok(error.expected?.includes('f32'), `expected is ${error.expected}, it should name f32`);
    equal(backend.memory().weights, weights, 'bytes of weights');
  });
  test('a tensor beyond the limit', async (backend) => {
    const shape = [Math.floor(backend.limits.maxBufferBytes / 4) + 1];
    const tensors = backend.memory().tensors;
    await throwsCode(() => backend.empty({ dtype: 'f32', shape }), 'out-of-memory', { argument: 'shape' });
    equal(backend.memory().tensors, tensors, 'bytes of tensors');
  });
  test('read: disposed, and of another backend', async (backend) => {
    await using other = createReferenceBackend();
    const tensor = backend.upload(four);
    tensor.dispose();
    tensor.dispose();
    await throwsCode(() => backend.read(tensor), 'disposed', { op: 'read', argument: 'tensor' });
    await throwsCode(() => backend.read(other.upload(four)), 'wrong-backend', { op: 'read', argument: 'tensor' });
  });
  test('read and flush: an aborted signal rejects with its reason', async (backend) => {
    using tensor = backend.upload(four);
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    const reasonOf = (work: Promise<unknown>) =>
      work.then(
        () => 'no error',
        (error: unknown) => error,
      );
    equal(await reasonOf(backend.read(tensor, { signal })), reason, 'reason of read');
    equal(await reasonOf(backend.flush({ signal })), reason, 'reason of flush');
    identical(await backend.read(tensor), four, 'the tensor');
  });
}

function disposalTests(t: Suite, { name, create }: BackendCase): void {
  t.test(`a disposed backend refuses every call [${name}]`, async () => {
    const backend = await create();
    const tensor = backend.upload(new Float32Array(4));
    const placed = await place(backend, NORM);
    await backend[Symbol.asyncDispose]();
    await backend[Symbol.asyncDispose]();
    const calls: Record<string, () => unknown> = {
      upload: () => backend.upload(new Float32Array(4)),
      empty: () => backend.empty({ dtype: 'f32', shape: [4] }),
      borrow: () => backend.borrow(new Float32Array(4), { dtype: 'f32', shape: [4] }),
      pack: () => backend.pack({ data: new Float32Array(4), shape: [2, 2] }),
      run: () => backend.run(rmsNorm, placed as never, EPS),
      read: () => backend.read(tensor),
      flush: () => backend.flush(),
    };
    for (const call of Object.values(calls)) await throwsCode(call, 'disposed');
    equal((await backend.lost).reason, 'destroyed', 'reason of the loss');
    tensor.dispose();
    disposeAll(placed);
  });
}
