/** Lists that an op wrote are taken unread where its signature promises enough, and refused where it does not. */
import type { Backend } from '../../src/backend/backend.ts';
import type { Tensor } from '../../src/backend/tensor.ts';
import {
  argmax,
  attention,
  compactKv,
  copyRows,
  embedding,
  gatheredFfn,
  gatherPositions,
  linear,
  merge,
  topKRows,
} from '../../src/ops/index.ts';
import { type BackendCase, equal, identical, opener, type Suite, throwsCode } from '../harness.ts';
import { Random } from '../random.ts';

const [T, D] = [9, 6];
const empty = (backend: Backend, ...shape: number[]) => backend.empty({ dtype: 'f32', shape });
const emptyList = (backend: Backend, length: number) => backend.empty({ dtype: 'u32', shape: [length] });

export function listsSuite(t: Suite): void {
  for (const backendCase of t.platform.backends) {
    const open = opener(backendCase.create);
    const test = (name: string, run: (backend: Backend) => Promise<void>) =>
      t.test(`${name} [${backendCase.name}]`, async () => run(await open()));
    acceptTests(test);
    refuseTests(test);
    test('the backend is given back', async (backend) => backend[Symbol.asyncDispose]());
    if (backendCase.lend) borrowedTest(t, backendCase, backendCase.lend);
  }
}

type Test = (name: string, run: (backend: Backend) => Promise<void>) => void;

/** The rows of the `k` best of T scores, as the device has them. */
function best(backend: Backend, k: number, rows: Tensor<'u32'> = emptyList(backend, k)): Tensor<'u32'> {
  const scores = backend.upload(new Random(7).normal(T));
  backend.run(topKRows, { scores, rows }, { k });
  return rows;
}

function acceptTests(test: Test): void {
  test('rows of top_k_rows: what uploaded rows give, to the bit', async (backend) => {
    const random = new Random(8);
    const x = random.normal(T * D);
    const weight = await backend.pack({ data: random.normal(D * D), shape: [D, D] });
    const pair = { data: random.normal(D * D), shape: [D, D] as const };
    const up = await backend.pack({ gate: pair, up: pair });
    const results = async (rows: Tensor<'u32'>) => {
      const fresh = () => backend.upload(x, [T, D]);
      const [projected, inPlace, copied, k] = [fresh(), fresh(), empty(backend, 4, D), backend.upload(x, [1, T, D])];
      backend.run(linear, { x: fresh(), weight, rows, outRows: rows, y: projected }, { accumulate: true });
      backend.run(gatheredFfn, { x: inPlace, rows, up, down: weight }, { activation: 'silu' });
      backend.run(copyRows, { x: fresh(), rows, y: copied }, {});
      backend.run(compactKv, { k, v: backend.upload(x, [1, T, D]), keep: rows }, {});
      return [
        await backend.read(projected),
        await backend.read(inPlace),
        await backend.read(copied),
        await backend.read(k.view([1, 4, D])),
      ];
    };
    const onDevice = best(backend, 4);
    const got = await results(onDevice);
    const want = await results(backend.upload(await backend.read(onDevice)));
    for (const [i, array] of got.entries()) identical(array, want[i]!, `result ${i}`);
    const prefix = await backend.read(onDevice.view([2]));
    const some = empty(backend, 2, D);
    backend.run(copyRows, { x: backend.upload(x, [T, D]), rows: onDevice.view([2]), y: some }, {});
    identical(await backend.read(some), take(x, prefix), 'rows of a view');
  });
  test('destinations and assignment of merge, ids of argmax: rows to look up', async (backend) => {
    const x = backend.upload(new Random(9).normal(T * D), [T, D]);
    const [y, destinations, assignment] = [empty(backend, 3, D), emptyList(backend, 3), emptyList(backend, T)];
    backend.run(merge, { x, y, destinations, assignment }, {});
    const [kept, spread, ids, looked] = [empty(backend, 3, D), empty(backend, T, D), emptyList(backend, T), empty(backend, T, 2)];
    backend.run(embedding, { table: x, ids: destinations, y: kept }, {});
    backend.run(embedding, { table: y, ids: assignment, y: spread }, {});
    backend.run(argmax, { x, ids }, {});
    const table = new Random(10).normal(D * 2);
    backend.run(embedding, { table: backend.upload(table, [D, 2]), ids, y: looked }, {});
    identical(await backend.read(kept), take(await backend.read(x), await backend.read(destinations)), 'destinations');
    identical(await backend.read(spread), take(await backend.read(y), await backend.read(assignment)), 'assignment');
    identical(await backend.read(looked), take(table, await backend.read(ids), 2), 'ids');
  });
  test('positions of chosen rows: attention over what they keep, and its cost', async (backend) => {
    const random = new Random(11);
    const [q, k, v] = [random.normal(2 * D), random.normal(T * D), random.normal(T * D)];
    const keep = best(backend, 4);
    const list = Uint32Array.of(0, 2, 3, 5, 8, 13, 21, 34, 55);
    const positions = emptyList(backend, 4);
    backend.run(gatherPositions, { list: backend.upload(list), rows: keep, y: positions }, {});
    const [kept, values] = [empty(backend, 1, 4, D), empty(backend, 1, 4, D)];
    const cache = { k: backend.upload(k, [1, T, D]), v: backend.upload(v, [1, T, D]) };
    backend.run(compactKv, { ...cache, keep, kOut: kept, vOut: values }, {});
    const flops: number[] = [];
    using _ = backend.trace((event) => void (event.op === 'attention' && flops.push(event.flops)));
    const attend = async (kPositions: Tensor<'u32'>) => {
      const o = empty(backend, 2, 1, D);
      const io = { q: backend.upload(q, [2, 1, D]), k: kept.view([4, 1, D]), v: values.view([4, 1, D]), kPositions, o };
      backend.run(attention, { ...io, qPositions: backend.upload(Uint32Array.of(5, 40)) }, { scale: 0.5, causal: true });
      return backend.read(o);
    };
    const got = await attend(positions);
    const rows = await backend.read(keep);
    const onHost = rows.map((row) => list[row]!);
    identical(got, await attend(backend.upload(onHost)), 'o');
    identical(await backend.read(positions), onHost, 'positions');
    const pairs = [5, 40].reduce((sum, query) => sum + onHost.filter((position) => position <= query).length, 0);
    equal(flops[0], 4 * 2 * 4 * D, 'the bound of the cost, where positions are on the device');
    equal(flops[1], 4 * pairs * D, 'the cost');
  });
}

function refuseTests(test: Test): void {
  /** What becomes of `rows` as rows of x [count, D]. */
  const copy = (backend: Backend, rows: Tensor<'u32'>, count: number) =>
    backend.run(copyRows, { x: backend.upload(new Float32Array(count * D), [count, D]), rows, y: empty(backend, T, D) }, {});
  const refused = (backend: Backend, rows: Tensor<'u32'>, count: number) =>
    throwsCode(() => copy(backend, rows, count), 'invalid-argument', { op: 'copy_rows', argument: 'rows' });

  test('a bound that is too large for the rows there are', async (backend) => {
    const rows = best(backend, 4);
    await refused(backend, rows, T - 1);
    copy(backend, rows, T);
    copy(backend, rows, T + 1);
  });
  test('lists of unknown contents, and ids in any order for rows', async (backend) => {
    await refused(backend, emptyList(backend, 4), T);
    const ids = emptyList(backend, 4);
    backend.run(argmax, { x: backend.upload(new Random(12).normal(4 * T), [4, T]), ids }, {});
    await refused(backend, ids, T);
    backend.run(embedding, { table: empty(backend, T, D), ids, y: empty(backend, 4, D) }, {});
    const tooFew = { table: empty(backend, T - 1, D), ids, y: empty(backend, 4, D) };
    await throwsCode(() => backend.run(embedding, tooFew, {}), 'invalid-argument', { op: 'embedding', argument: 'ids' });
  });
  test('a promise is gone when another op has written, also a part of the memory', async (backend) => {
    const rows = best(backend, 4);
    backend.run(argmax, { x: backend.upload(new Random(13).normal(2 * T), [2, T]), ids: rows.view([2]) }, {});
    await refused(backend, rows, T);
    await refused(backend, rows.view([2]), T);
    best(backend, 4, rows); // and made anew by the next one that gives it
    copy(backend, rows, T);
    best(backend, 2, rows.view([2])); // of that part only
    copy(backend, rows.view([2]), T);
    await refused(backend, rows, T);
  });
  test('a promise is not kept of an op that was refused', async (backend) => {
    const rows = emptyList(backend, 4);
    const scores = backend.upload(new Random(7).normal(T));
    await throwsCode(() => backend.run(topKRows, { scores, rows }, { k: 5 }), 'invalid-argument');
    await refused(backend, rows, T);
  });
}

function borrowedTest(t: Suite, { name }: BackendCase, lend: NonNullable<BackendCase['lend']>): void {
  t.test(`borrowed memory, which its owner may write: no promise [${name}]`, async () => {
    const { backend, handle, release } = await lend(new Float32Array(8));
    const memory = handle instanceof Float32Array ? new Uint32Array(handle.buffer) : handle;
    const rows = backend.borrow(memory, { dtype: 'u32', shape: [4] });
    best(backend, 4, rows);
    const x = backend.upload(new Float32Array(T * D), [T, D]);
    const run = () => backend.run(copyRows, { x, rows, y: empty(backend, 4, D) }, {});
    await throwsCode(run, 'invalid-argument', { op: 'copy_rows', argument: 'rows' });
    await backend.flush();
    release();
    await backend[Symbol.asyncDispose]();
  });
}

function take(data: Float32Array, rows: Uint32Array, width = D): Float32Array {
  return Float32Array.from(Array.from(rows).flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]));
}
