/** Laws about which rows an op works on. */
import { embedding, linear } from '../../../src/ops/index.ts';
import { close, identical } from '../../harness.ts';
import { apply, f32, matrix, out, u32, type Values } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { tolerance } from '../../tolerance.ts';
import { ffn, ffnOperands, take } from './ffn.ts';
import type { Law } from './law.ts';

export function rowListLaws(law: Law): void {
  law('gathered_ffn: listing all rows is the dense FFN, to the bit', async (backend) => {
    const values = ffnOperands(new Random(1));
    identical(await ffn(backend, { ...values, rows: u32(rowLists(19).all!) }), await ffn(backend, values));
  });
  law('gathered_ffn: a row gate of 1 is no gate, to the bit', async (backend) => {
    const values = ffnOperands(new Random(1));
    identical(await ffn(backend, { ...values, rowGate: f32(new Float32Array(19).fill(1), 19) }), await ffn(backend, values));
  });
  law('gathered_ffn: listing no row, and gates of 0, is the identity, to the bit', async (backend) => {
    const values = ffnOperands(new Random(2));
    identical(await ffn(backend, { ...values, rows: u32(new Uint32Array(0)) }), values.x.f32);
    identical(await ffn(backend, { ...values, rowGate: f32(new Float32Array(19), 19) }), values.x.f32);
  });
  law('gathered_ffn: a listed row is what the dense FFN makes of it, any other is untouched to the bit', async (backend) => {
    const values = ffnOperands(new Random(3));
    const dense = await ffn(backend, values);
    for (const [name, rows] of Object.entries(rowLists(19))) {
      const some = await ffn(backend, { ...values, rows: u32(rows) });
      const others = rowLists(19).all!.filter((row) => !rows.includes(row));
      identical(take(some, 20, others), take(values.x.f32, 20, others), `rows outside "${name}"`);
      const want = take(dense, 20, rows);
      close(take(some, 20, rows), want, tolerance(112, want), `rows of "${name}"`);
    }
  });
  law('gathered_ffn: two disjoint lists one after the other are their union, within the tolerance', async (backend) => {
    const values = ffnOperands(new Random(4));
    const { alternating, all } = rowLists(19) as Record<string, Uint32Array>;
    const first = await ffn(backend, { ...values, rows: u32(alternating!) });
    const both = await ffn(backend, { ...values, x: f32(first, 19, 20), rows: u32(all!.filter((row) => row % 2 === 0)) });
    const want = await ffn(backend, values);
    close(both, want, tolerance(112, want));
  });
  law('gathered_ffn: permuting rows and row list permutes the result, within the tolerance', async (backend) => {
    const random = new Random(5);
    const values = ffnOperands(random);
    const order = random.permutation(19); // row i of the permuted matrix is row order[i]
    const rows = rowLists(19)['one run']!;
    const permutedRows = Uint32Array.from(rows, (row) => order.indexOf(row)).sort();
    const plain = take(await ffn(backend, { ...values, rows: u32(rows) }), 20, order);
    const permuted = await ffn(backend, { ...values, x: f32(take(values.x.f32, 20, order), 19, 20), rows: u32(permutedRows) });
    close(permuted, plain, tolerance(112, plain));
  });
  law('linear: rows and outRows listing all rows are no lists, to the bit', async (backend) => {
    const random = new Random(6);
    const values: Values = { x: f32(random.normal(19 * 12), 19, 12), weight: matrix(random.normal(7 * 12), 7, 12), y: out(19, 7) };
    const all = u32(rowLists(19).all!);
    const dense = await apply(backend, linear, values, {});
    identical((await apply(backend, linear, { ...values, rows: all }, {})).y!, dense.y!, 'y with rows');
    identical((await apply(backend, linear, { ...values, rows: all, outRows: all }, {})).y!, dense.y!, 'y with both');
  });
  law('linear: gathering rows and scattering them back through the identity restores them, to the bit', async (backend) => {
    const random = new Random(7);
    const [T, D] = [19, 9];
    const x = random.normal(T * D);
    const unit = matrix(
      Float32Array.from({ length: D * D }, (_, i) => (i % (D + 1) === 0 ? 1 : 0)),
      D,
      D,
    );
    for (const [name, list] of Object.entries(rowLists(T))) {
      const rows = u32(list);
      const gathered = await apply(backend, linear, { x: f32(x, T, D), weight: unit, rows, y: out(list.length, D) }, {});
      identical(gathered.y!, take(x, D, list), `rows gathered by "${name}"`);
      const target = random.normal(T * D);
      const scattered = await apply(
        backend,
        linear,
        { x: f32(gathered.y as Float32Array, list.length, D), weight: unit, outRows: rows, y: f32(target, T, D) },
        {},
      );
      const want = target.slice();
      for (const row of list) want.set(x.subarray(row * D, (row + 1) * D), row * D);
      identical(scattered.y!, want, `rows scattered by "${name}"`);
    }
  });
  law('embedding: gathering by a permutation and by its inverse restores the rows, to the bit', async (backend) => {
    const random = new Random(8);
    const x = random.normal(35 * 5);
    const order = random.permutation(35);
    const inverse = Uint32Array.from(order, (_, i) => order.indexOf(i));
    const once = await apply(backend, embedding, { table: f32(x, 35, 5), ids: u32(order), y: out(35, 5) }, {});
    const twice = await apply(backend, embedding, { table: f32(once.y as Float32Array, 35, 5), ids: u32(inverse), y: out(35, 5) }, {});
    identical(twice.y!, x);
  });
}
