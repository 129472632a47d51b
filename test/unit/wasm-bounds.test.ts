/** No kernel writes behind what was allocated: neither an output nor scratch memory, whose size the kernels state themselves. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { LinearMemory } from '../../src/backend/wasm/memory.ts';
import { apply, packedAs } from '../operands.ts';
import { Random } from '../random.ts';
import { OP_ROWS } from '../table/rows.ts';

const GUARD = 96;
const MARK = 0xa5;
const guarded = new Map<number, number>();
const broken: string[] = [];

beforeAll(() => {
  const { allocate, free } = LinearMemory.prototype;
  vi.spyOn(LinearMemory.prototype, 'allocate').mockImplementation(function (this: LinearMemory, bytes) {
    const pointer = allocate.call(this, bytes + GUARD);
    this.bytes(pointer + bytes, GUARD).fill(MARK);
    guarded.set(pointer, bytes);
    return pointer;
  });
  vi.spyOn(LinearMemory.prototype, 'free').mockImplementation(function (this: LinearMemory, pointer) {
    const bytes = guarded.get(pointer)!;
    if (this.bytes(pointer + bytes, GUARD).some((byte) => byte !== MARK)) broken.push(`${bytes} bytes`);
    free.call(this, pointer);
  });
});
afterAll(() => void vi.restoreAllMocks());

test.each((['simd128', 'relaxed'] as const).flatMap((variant) => OP_ROWS.map((row) => [variant, row.op.definition.name, row] as const)))(
  '%s: %s',
  async (variant, _, { op, cases }) => {
    const backend = await createWasmBackend({ variant });
    for (const { title, values, attrs, dtype = 'f32' } of cases(new Random(0x5eed))) {
      await apply(backend, op, packedAs(values, dtype), attrs);
      expect(broken.splice(0), title).toEqual([]);
    }
  },
);
