/** Laws of packed weights, for every dtype that the backend packs besides f32: what holds to the bit there holds for all rows. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { WeightDType } from '../../../src/backend/weight.ts';
import { linear } from '../../../src/ops/index.ts';
import { close, deepEqual, identical, ok, sameClasses, type Tolerance } from '../../harness.ts';
import { apply, f32, matrix, out, packedAs, pair, u32, type Values } from '../../operands.ts';
import { Random, rowLists } from '../../random.ts';
import { quantizedTolerance, tolerance } from '../../tolerance.ts';
import { ffn, take } from './ffn.ts';
import type { Law } from './law.ts';

const [T, D, M] = [19, 70, 100];

/** Up to so many rows have kernels of their own on WebGPU, which add up in another order and never take the rows as int8. */
const FEW_ROWS = 8;
const hasOwnKernel = (backend: Backend, count: number) => backend.name === 'webgpu' && count <= FEW_ROWS;

/** How far apart the two kernels may be. */
function betweenKernels({ features }: Backend, dtype: WeightDType, want: Float32Array, sums: number, products: number): Tolerance {
  const quantized = features.has('integer-dot-product') ? quantizedTolerance(dtype, products) : undefined;
  if (!quantized) return tolerance(sums, want);
  return { rtol: 0, atol: quantized.atol * Math.sqrt(want.reduce((sum, value) => sum + value ** 2 / want.length, 0)) };
}

function operands(random: Random, dtype: WeightDType): Values & { x: { f32: Float32Array<ArrayBuffer>; shape: readonly number[] } } {
  return packedAs(
    {
      x: { f32: random.normal(T * D), shape: [T, D] },
      normWeight: f32(random.normal(D, 0.2, 1), D),
      up: pair(random.normal(M * D, 0.2), random.normal(M * D, 0.2), M, D),
      down: matrix(random.normal(D * M, 0.2), D, M),
    },
    dtype,
  );
}

export function weightLaws(law: Law): void {
  for (const dtype of ['f16', 'q8', 'q4'] as const) {
    const packedLaw: Law = (name, run) => law(`${dtype}: ${name}`, run);
    packedLaw('gathered_ffn: listing all rows is the dense FFN, listing none and gates of 0 the identity, to the bit', async (backend) => {
      const values = operands(new Random(40), dtype);
      identical(await ffn(backend, { ...values, rows: u32(rowLists(T).all!) }), await ffn(backend, values), 'all rows');
      identical(await ffn(backend, { ...values, rows: u32(new Uint32Array(0)) }), values.x.f32, 'no row');
      identical(await ffn(backend, { ...values, rowGate: f32(new Float32Array(T), T) }), values.x.f32, 'gates of 0');
    });
    packedLaw(
      'gathered_ffn: a listed row is what the dense FFN makes of it, to the bit where one kernel makes both, any other is untouched',
      async (backend) => {
        const values = operands(new Random(41), dtype);
        const dense = await ffn(backend, values);
        for (const [name, rows] of Object.entries(rowLists(T))) {
          const some = await ffn(backend, { ...values, rows: u32(rows) });
          const others = rowLists(T).all!.filter((row) => !rows.includes(row));
          const [got, want] = [take(some, D, rows), take(dense, D, rows)];
          if (hasOwnKernel(backend, rows.length))
            close(got, want, betweenKernels(backend, dtype, want, 2 * (D + M), 3), `rows of "${name}"`);
          else identical(got, want, `rows of "${name}"`);
          identical(take(some, D, others), take(values.x.f32, D, others), `rows outside "${name}"`);
        }
      },
    );
    packedLaw('linear: a row has the same bits whatever runs with it in one kernel', async (backend) => {
      const random = new Random(42);
      const x = random.normal(T * D);
      const weight = matrix(random.normal(M * D, 0.2), M, D);
      const rows = async (count: number) => {
        const values = packedAs({ x: f32(x.slice(0, count * D), count, D), weight, y: out(count, M) }, dtype);
        return (await apply(backend, linear, values, {})).y as Float32Array;
      };
      const all = await rows(T);
      const few = hasOwnKernel(backend, FEW_ROWS) ? await rows(FEW_ROWS) : all;
      close(few, all.slice(0, few.length), betweenKernels(backend, dtype, all, D, 1), `y of ${FEW_ROWS} rows`);
      for (let count = 1; count <= 14; count++) {
        const want = hasOwnKernel(backend, count) ? few : all;
        identical(await rows(count), want.slice(0, count * M), `y of ${count} rows`);
      }
    });
    packedLaw('gathered_ffn: NaN in a row stays in that row, to the bit', async (backend) => {
      const values = operands(new Random(43), dtype);
      const clean = await ffn(backend, values);
      const x = values.x.f32.slice();
      x[5 * D + 3] = Number.NaN;
      const spoiled = await ffn(backend, { ...values, x: f32(x, T, D) });
      sameClasses(take(spoiled, D, [5]), new Float32Array(D).fill(Number.NaN), 'the row');
      const others = rowLists(T).all!.filter((row) => row !== 5);
      identical(take(spoiled, D, others), take(clean, D, others), 'the other rows');
    });
    packedLaw('linear: a weight that is NaN or infinite spoils its output and no other', async (backend) => {
      for (const special of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        for (const count of [1, 2, 7]) {
          const random = new Random(44);
          const x = f32(random.normal(count * D), count, D);
          const w = random.normal(M * D, 0.2);
          const y = async () => (await apply(backend, linear, packedAs({ x, weight: matrix(w, M, D), y: out(count, M) }, dtype), {})).y!;
          const clean = await y();
          w[77 * D + 5] = special;
          const spoiled = await y();
          deepEqual(
            Array.from(spoiled.keys()).filter((i) => !Number.isFinite(spoiled[i])),
            Array.from({ length: count }, (_, t) => t * M + 77),
            `outputs that are not finite, ${count} rows, ${special}`,
          );
          const others = (array: ArrayLike<number>) => Float32Array.from(array).filter((_, i) => i % M !== 77);
          identical(others(spoiled), others(clean), 'the other outputs');
        }
      }
    });
    packedLaw('packing tells its progress, gives memory back when it is aborted, and holds fewer bytes than f32', async (backend) => {
      const [N, K] = [1100, 2048];
      const source = { data: new Random(45).normal(N * K), shape: [N, K] as const };
      const { weights, reserved } = backend.memory();
      const seen: number[] = [];
      const weight = await backend.pack(source, { dtype, onProgress: (fraction) => seen.push(fraction) });
      ok(seen.length > 1 && seen.at(-1) === 1 && seen.every((fraction, i) => i === 0 || fraction >= seen[i - 1]!), `progress was ${seen}`);
      ok(backend.name === 'reference' || weight.bytes < 2.1 * N * K, `${weight.bytes} bytes for ${N * K} weights`);
      weight.dispose();
      const held = Math.max(reserved, backend.memory().reserved);
      const controller = new AbortController();
      const aborted = backend.pack(source, { dtype, signal: controller.signal, onProgress: () => controller.abort('enough') });
      deepEqual(await aborted.catch((reason) => reason), 'enough', 'reason of the rejection');
      deepEqual(backend.memory().weights, weights, 'bytes of weights');
      const mine = new Error('mine');
      for (const at of [0, 1]) {
        const thrown = backend.pack(source, {
          dtype,
          onProgress: (fraction) => {
            if (fraction >= at) throw mine;
          },
        });
        deepEqual((await thrown.catch((error) => error)) === mine, true, `whether it is the caller's own error from ${at} on`);
        deepEqual(backend.memory().weights, weights, 'bytes of weights');
      }
      (await backend.pack(source, { dtype })).dispose();
      ok(backend.memory().reserved <= held, `${backend.memory().reserved} bytes are held, ${held} were`);
    });
  }
}
