/** Laws of the Wasm matrix products that other backends need not obey: bits depend neither on the tile nor on the row count. */
import { describe, expect, test } from 'vitest';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { loadBinary, type TileRows, type WasmVariant } from '../../src/backend/wasm/binary.ts';
import { LinearMemory } from '../../src/backend/wasm/memory.ts';
import { fusesMultiplyAdd } from '../../src/backend/wasm/self-check.ts';
import { packedBytes, rowBlocks } from '../../src/ops/product/wasm.ts';
import { gatheredFfn } from '../../src/ops/gathered-ffn.ts';
import { linear } from '../../src/ops/linear.ts';
import { createWasmBackend, tuneWasm, wasmMemoryOf } from '../../src/wasm.ts';
import { usedHere } from '../conformance/instructions.ts';
import { Random } from '../random.ts';

const T = 26;
const D = 37;
const M = 75;

/** x + FFN(norm(x)) of the listed rows, as bits [T, D]. */
async function ffnBits(variant: WasmVariant, tileRows: TileRows, rows?: readonly number[]): Promise<Uint32Array> {
  const random = new Random(3);
  await using backend = await createWasmBackend({ variant, tileRows });
  const matrix = (N: number, K: number) => ({ data: random.normal(N * K, 0.2), shape: [N, K] }) as const;
  const x = backend.upload(random.normal(T * D), [T, D]);
  const up = await backend.pack({ gate: matrix(M, D), up: matrix(M, D) });
  const down = await backend.pack(matrix(D, M));
  const normWeight = backend.upload(random.normal(D));
  const list = rows && backend.upload(Uint32Array.from(rows));
  backend.run(gatheredFfn, { x, rows: list, up, down, normWeight }, { activation: 'silu', norm: 'rms', eps: 1e-6 });
  return new Uint32Array((await backend.read(x)).buffer);
}

/** act(x W^T) of the first `count` rows, as bits. */
async function linearBits(variant: WasmVariant, tileRows: TileRows, count: number): Promise<Uint32Array> {
  const random = new Random(5);
  await using backend = await createWasmBackend({ variant, tileRows });
  const x = backend.upload(random.normal(T * D), [T, D]);
  const weight = await backend.pack({ data: random.normal(M * D), shape: [M, D] });
  const bias = backend.upload(random.normal(M));
  const y = backend.empty({ dtype: 'f32', shape: [count, M] });
  const rows = backend.upload(Uint32Array.from({ length: count }, (_, i) => i));
  backend.run(linear, { x, weight, bias, rows, y }, { activation: 'gelu' });
  return new Uint32Array((await backend.read(y)).buffer);
}

describe.each(['simd128', 'relaxed'] as const)('products of the %s binary', (variant) => {
  test.each([4, 6] as const)('the description names tiles of %i rows', async (tileRows) => {
    await using backend = await createWasmBackend({ variant, tileRows });
    expect(backend.description).toMatch(new RegExp(`, ${tileRows}x8 tiles$`));
  });

  test.each([4, 6] as const)('linear, tiles of %i rows: a row has the same bits whatever runs with it', async (tileRows) => {
    const all = await linearBits(variant, 4, T);
    for (let count = 0; count <= 14; count++) expect(await linearBits(variant, tileRows, count)).toEqual(all.subarray(0, count * M));
    expect(await linearBits(variant, tileRows, T)).toEqual(all);
  });

  test.each([4, 6] as const)(
    'gathered_ffn, tiles of %i rows: listed rows have the bits of the dense call, others their own',
    async (tileRows) => {
      const dense = await ffnBits(variant, 4);
      const before = await ffnBits(variant, 4, []);
      for (const stride of [1, 2, 3, 5, 9, 13]) {
        const rows = Array.from({ length: T }, (_, t) => t).filter((t) => t % stride === 0);
        const bits = await ffnBits(variant, tileRows, rows);
        for (let t = 0; t < T; t++) {
          const want = (t % stride ? before : dense).subarray(t * D, (t + 1) * D);
          expect(bits.subarray(t * D, (t + 1) * D)).toEqual(want);
        }
      }
    },
  );
});

describe('the tile that is taken', () => {
  test('is that of 4 rows without a fused multiply-add; with one, that of the age of the engine', async () => {
    for (const variant of ['simd128', 'relaxed'] as const) {
      const linear = new LinearMemory();
      const { kernels, group } = await loadBinary(linear, { variant });
      const fused = variant === 'relaxed' && usedHere().fma;
      expect(fusesMultiplyAdd(kernels, linear), variant).toBe(fused);
      if (!fused) expect(group, variant).toBe(4);
      expect(linear.used).toBe(0);
    }
  });

  test('tuneWasm takes the one that it says, and the bits stay', async () => {
    const random = new Random(8);
    await using backend = await createWasmBackend();
    const x = backend.upload(random.normal(T * D), [T, D]);
    const weight = await backend.pack({ data: random.normal(M * D), shape: [M, D] });
    const y = backend.empty({ dtype: 'f32', shape: [T, M] });
    backend.run(linear, { x, weight, y }, {});
    const before = await backend.read(y);
    const { used } = wasmMemoryOf(backend) as LinearMemory;
    const { tileRows, reason } = await tuneWasm(backend);
    expect((wasmMemoryOf(backend) as LinearMemory).used).toBe(used);
    expect(reason).toMatch(/^tiles of 6 rows take \d\.\d\d of the time of those of 4$/);
    expect(backend.description).toContain(`${tileRows}x8 tiles`);
    backend.run(linear, { x, weight, y }, {});
    expect(await backend.read(y)).toEqual(before);
  });

  test('tuneWasm refuses other backends and disposed ones', async () => {
    await expect(tuneWasm(createReferenceBackend())).rejects.toMatchObject({ code: 'wrong-backend', argument: 'backend' });
    const backend = await createWasmBackend();
    await backend[Symbol.asyncDispose]();
    await expect(tuneWasm(backend)).rejects.toMatchObject({ code: 'disposed' });
  });
});

test('row blocks cover every row once, and packed A has room for each with its filler', () => {
  for (let rows = 0; rows < 1000; rows += rows < 40 ? 1 : 31) {
    const blocks = rowBlocks(rows);
    expect(blocks.reduce((end, { first, count }) => (first === end && count > 0 ? end + count : Number.NaN), 0)).toBe(rows);
    for (const { first, count } of blocks) {
      expect(first % 12).toBe(0);
      for (const group of [4, 6]) {
        const last = count % group;
        const filled = count + (last === 3 || last === 5 ? 1 : 0);
        // 1 or 2 rows lie in a group of 4.
        const span = (last === 1 || last === 2 ? count - last + 4 : filled) * 8 * 4;
        expect(span).toBeLessThanOrEqual(packedBytes(rows, 32));
      }
    }
  }
});
