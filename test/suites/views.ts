/** Every op on views in the middle of larger memory: the same result to the bit, and nothing beside it is touched. */
import type { Backend } from '../../src/backend/backend.ts';
import { ARRAYS, type Tensor, type TypedArray } from '../../src/backend/tensor.ts';
import { copyRows, linear, rmsNorm, topKRows } from '../../src/ops/index.ts';
import { deepEqual, equal, identical, ok, opener, type Suite, throwsCode } from '../harness.ts';
import { apply, disposeAll, packedAs, place, type Value, type Values } from '../operands.ts';
import { Random } from '../random.ts';
import type { OpCase, OpRow } from '../table/row.ts';
import { OP_ROWS } from '../table/rows.ts';

/** Elements in front of each operand: a row of odd width, and where bindings may start on any device, 256 bytes; of f16 twice as many. */
const OFFSETS = [5, 64, 69];
const BEHIND = 6;

export function viewsSuite(t: Suite): void {
  for (const { name, create } of t.platform.backends) {
    const open = opener(create);
    const test = (title: string, run: (backend: Backend) => Promise<void>) =>
      t.test(`${title} [${name}]`, async () => {
        const backend = await open();
        const { tensors, weights } = backend.memory();
        await run(backend);
        deepEqual([backend.memory().tensors, backend.memory().weights], [tensors, weights], 'bytes of tensors and weights');
      });
    for (const row of OP_ROWS) test(`${row.op.definition.name} on views`, (backend) => runOnViews(backend, row));
    partTests(test);
    refusalTests(test);
    t.test(`the backend is given back [${name}]`, async () => (await open())[Symbol.asyncDispose]());
  }
}

/** A few cases of a row, those of f16 and of packed weights among them. */
function* someOf({ cases }: OpRow): Generator<OpCase> {
  const all = [...cases(new Random(0x7e57))].filter(({ values }) => Object.values(values).every((value) => !value || sizeOf(value) < 4000));
  const random = new Random(3);
  for (const kind of [all.filter(({ title }) => title.startsWith('f16')), all])
    for (let i = 0; i < 6 && kind.length; i++) yield kind[random.below(kind.length)]!;
}

const sizeOf = ({ shape }: Value) => shape.reduce((product, extent) => product * extent, 1);

async function runOnViews(backend: Backend, row: OpRow): Promise<void> {
  const { op } = row;
  let runs = 0;
  for (const { title, values: plain, attrs, dtype = 'f32', defined = {} } of someOf(row)) {
    if (!backend.dtypes.includes(dtype)) continue;
    const values = packedAs(plain, dtype);
    const want = await apply(backend, op, values, attrs);
    for (const offset of OFFSETS) {
      const { owners, placed } = await placeViews(backend, values, offset);
      backend.run(op, placed as never, attrs);
      runs++;
      for (const [name, array] of Object.entries(want)) {
        const part = defined[name] ?? ((all: TypedArray) => all as Float32Array);
        const what = `${title}, ${offset} elements in: ${name}`;
        identical(part((await backend.read(placed[name] as Tensor)) as Float32Array), part(array), what);
      }
      for (const [name, { tensor, before }] of Object.entries(owners)) {
        const [after, { size }] = [await backend.read(tensor), placed[name] as Tensor];
        const start = before.length - BEHIND - size;
        identical(after.subarray(0, start), before.subarray(0, start), `${title}, ${offset} elements in: before ${name}`);
        identical(after.subarray(start + size), before.subarray(start + size), `${title}, ${offset} elements in: behind ${name}`);
      }
      disposeAll(placed);
      for (const { tensor } of Object.values(owners)) tensor.dispose();
    }
  }
  ok(runs >= 18, `${runs} runs only`);
}

/** Tensors as views `offset` elements into memory of their own, weights as they are. */
async function placeViews(backend: Backend, values: Values, offset: number) {
  const owners: Record<string, { tensor: Tensor; before: TypedArray }> = {};
  const placed: Awaited<ReturnType<typeof place>> = {};
  for (const [name, value] of Object.entries(values)) {
    if (!value) continue;
    if ('matrices' in value) {
      Object.assign(placed, await place(backend, { [name]: value }));
      continue;
    }
    const data = 'f32' in value ? value.f32 : 'f16' in value ? value.f16 : value.u32;
    const start = 'f16' in value ? 2 * offset : offset;
    const dtype = 'f32' in value ? 'f32' : 'f16' in value ? 'f16' : 'u32';
    const before = new ARRAYS[dtype](start + data.length + BEHIND).map((_, i) => 7 + (i % 90));
    before.set(data, start);
    const tensor: Tensor = backend.upload(before as Float32Array);
    owners[name] = { tensor, before };
    placed[name] = tensor.view(value.shape, start);
  }
  return { owners, placed };
}

type Test = (name: string, run: (backend: Backend) => Promise<void>) => void;

function partTests(test: Test): void {
  test('views of views, and slices, are read where they lie', async (backend) => {
    const data = Float32Array.from({ length: 60 }, (_, i) => i);
    using tensor = backend.upload(data, [6, 5, 2]);
    const part = async (view: Tensor<'f32'>, shape: readonly number[], start: number) => {
      deepEqual(view.shape, shape, 'shape');
      identical(await backend.read(view), data.subarray(start, start + view.size), `from ${start} on`);
    };
    await part(tensor.view([3], 7), [3], 7);
    await part(tensor.view([40], 20).view([2, 2], 3), [2, 2], 23);
    await part(tensor.slice(1, 4), [3, 5, 2], 10);
    await part(tensor.slice(1, 6).slice(2, 3), [1, 5, 2], 30);
    await part(tensor.slice(2, 3).view([5, 2]).slice(4, 5), [1, 2], 28);
    await part(tensor.slice(6, 6), [0, 5, 2], 60);
    await part(tensor.view([0], 60), [0], 60);
    using halves = backend.upload(
      Uint16Array.from({ length: 12 }, (_, i) => i),
      [3, 4],
    );
    identical(await backend.read(halves.slice(1, 3)), Uint16Array.of(4, 5, 6, 7, 8, 9, 10, 11), 'f16');
  });
  test('one op after another over the rows of one tensor, each read by the next', async (backend) => {
    const width = 70; // rows start at 280 bytes, then 560, ...: bound where they are, or not
    const data = new Random(5).normal(8 * width);
    using x = backend.upload(data, [8, width]);
    using weight = backend.upload(new Float32Array(width).fill(1));
    using y = backend.upload(data, [8, width]);
    using whole = backend.empty({ dtype: 'f32', shape: [8, width] });
    backend.run(rmsNorm, { x, weight, y: whole }, { eps: 1e-5 });
    for (let row = 0; row < 8; row++) backend.run(rmsNorm, { x: x.slice(row, row + 1), weight, y: y.slice(row, row + 1) }, { eps: 1e-5 });
    identical(await backend.read(y), await backend.read(whole));
    for (let row = 7; row > 0; row--) backend.run(copyRows, { x: y.slice(row, row + 1), y: x.slice(row - 1, row) }, {});
    identical((await backend.read(x)).subarray(0, 7 * width), (await backend.read(whole)).subarray(width));
  });
  test('a part of a list, uploaded or computed, is checked for what it is', async (backend) => {
    const data = new Random(6).normal(9 * 3);
    using x = backend.upload(data, [9, 3]);
    using y = backend.empty({ dtype: 'f32', shape: [2, 3] });
    const take = async (rows: Tensor<'u32'>) => {
      backend.run(copyRows, { x, rows, y }, {});
      return backend.read(y);
    };
    const rowsOf = (...rows: number[]) => Float32Array.from(rows.flatMap((row) => [...data.subarray(3 * row, 3 * row + 3)]));
    using uploaded = backend.upload(Uint32Array.of(4, 12, 1, 6, 6, 2));
    identical(await take(uploaded.slice(2, 4)), rowsOf(1, 6), 'uploaded');
    for (const wrong of [uploaded.slice(0, 2), uploaded.slice(3, 5), uploaded.slice(4, 6)])
      await throwsCode(() => take(wrong), 'invalid-argument', { op: 'copy_rows', argument: 'rows' });
    identical(await take(uploaded.view([2], 2)), rowsOf(1, 6), 'the right part again');
    using scores = backend.upload(Float32Array.of(0, 9, 0, 8, 7, 0, 6, 0, 5));
    using chosen = backend.empty({ dtype: 'u32', shape: [7] });
    backend.run(topKRows, { scores, rows: chosen.slice(1, 6) }, { k: 5 });
    identical(await take(chosen.slice(2, 4)), rowsOf(3, 4), 'computed');
    for (const beyond of [chosen.slice(0, 2), chosen.slice(5, 7)])
      await throwsCode(() => take(beyond), 'invalid-argument', { op: 'copy_rows', argument: 'rows' });
  });
}

function refusalTests(test: Test): void {
  test('a view that is not within its tensor, and one of half a word', async (backend) => {
    using tensor = backend.upload(new Float32Array(12), [4, 3]);
    using halves = backend.upload(new Uint16Array(12));
    using scalar = backend.upload(new Float32Array(1), []);
    const calls: [op: string, argument: string, call: () => unknown][] = [
      ...[9, -1, 0.5, Number.NaN, '1', null, 2n].map((offset): [string, string, () => unknown] => [
        'view',
        'offset',
        () => tensor.view([4], offset as number),
      ]),
      ['view', 'shape', () => tensor.view([13], 0)],
      ['view', 'shape', () => tensor.view([2n] as never)],
      ['view', 'offset', () => halves.view([2], 3)],
      ['slice', 'offset', () => halves.slice(1, 3)],
      ['slice', 'shape', () => halves.slice(2, 5)],
      ['slice', 'tensor', () => scalar.slice(0, 0)],
      ...[-1, 5, 1.5, undefined, '1'].map((start): [string, string, () => unknown] => [
        'slice',
        'start',
        () => tensor.slice(start as number, 4),
      ]),
      ...[0, 5, 2.5, undefined, '4'].map((end): [string, string, () => unknown] => ['slice', 'end', () => tensor.slice(1, end as number)]),
    ];
    for (const [op, argument, call] of calls) await throwsCode(call, 'invalid-argument', { op, argument });
    equal(tensor.slice(0, 4).size, 12, 'size');
  });
  test('an output beside an input in one memory, though they do not meet', async (backend) => {
    using x = backend.upload(new Float32Array(256), [2, 128]);
    using weight = backend.upload(new Float32Array(128));
    const error = await throwsCode(
      () => backend.run(rmsNorm, { x: x.slice(0, 1), weight, y: x.slice(1, 2) }, { eps: 1 }),
      'invalid-argument',
      { op: 'rms_norm', argument: 'y' },
    );
    ok(error.got?.includes('x'), `got is ${error.got}`);
    using matrix = await backend.pack({ data: new Float32Array(128 * 128), shape: [128, 128] });
    const shared = { x: x.slice(0, 1), normWeight: x.slice(1, 2).view([128]), weight: matrix }; // two that are read may be one memory
    using y = backend.empty({ dtype: 'f32', shape: [1, 128] });
    backend.run(linear, { ...shared, y }, {});
  });
}
