import { describe, expect, test } from 'vitest';
import { createWasmBackend, wasmMemoryOf } from '../../src/backend/wasm/driver.ts';
import { LinearMemory, PAGE, RESERVED } from '../../src/backend/wasm/memory.ts';

function outOfMemory(message: RegExp): object {
  return expect.objectContaining({ code: 'out-of-memory', message: expect.stringMatching(message) });
}

describe('LinearMemory', () => {
  test('addresses are multiples of 64, never in the reserved part, and an empty allocation has its own', () => {
    const memory = new LinearMemory();
    const pointers = [0, 1, 63, 64, 65, 0].map((bytes) => memory.allocate(bytes));
    expect(pointers.every((pointer) => pointer >= RESERVED && pointer % 64 === 0)).toBe(true);
    expect(new Set(pointers).size).toBe(pointers.length);
    expect(memory.used).toBe(64 * 7);
  });

  test('a freed block is used again, first fit', () => {
    const memory = new LinearMemory();
    const [first, second] = [memory.allocate(256), memory.allocate(256)];
    memory.free(first);
    expect(memory.allocate(100)).toBe(first);
    expect(memory.allocate(128)).toBe(first + 128);
    expect(memory.allocate(64)).toBe(second + 256);
  });

  test.each([
    [0, 1, 2],
    [2, 1, 0],
    [0, 2, 1],
    [1, 0, 2],
  ])('neighbours join when freed in order %i, %i, %i', (...order) => {
    const memory = new LinearMemory();
    const blocks = [memory.allocate(64), memory.allocate(128), memory.allocate(192)];
    const guard = memory.allocate(64);
    for (const index of order) memory.free(blocks[index]!);
    expect(memory.allocate(384)).toBe(blocks[0]);
    memory.free(blocks[0]!);
    memory.free(guard);
    expect(memory.used).toBe(0);
    expect(memory.allocate(PAGE - RESERVED)).toBe(RESERVED);
  });

  test('growing extends a free tail instead of leaving it behind', () => {
    const memory = new LinearMemory();
    const pointer = memory.allocate(3 * PAGE);
    expect(pointer).toBe(RESERVED);
    memory.free(pointer);
    expect(memory.allocate(memory.reserved - RESERVED)).toBe(RESERVED);
  });

  test('out of memory says what was asked and held, and leaves the memory usable', () => {
    const memory = new LinearMemory(4);
    const kept = memory.allocate(PAGE);
    memory.f32(kept, 4).set([1, 2, 3, 4]);
    const { used } = memory;
    expect(() => memory.allocate(4 * PAGE)).toThrow(outOfMemory(/262144 bytes asked, 65536 in use and 131072 held/));
    expect(memory.used).toBe(used);
    const rest = memory.allocate(3 * PAGE - RESERVED);
    expect([...memory.f32(kept, 4)]).toEqual([1, 2, 3, 4]);
    expect(() => memory.allocate(1)).toThrow(outOfMemory(/64 bytes asked/));
    memory.free(kept);
    memory.free(rest);
    expect(memory.allocate(4 * PAGE - RESERVED)).toBe(RESERVED);
  });

  test('an address that is not allocated cannot be freed', () => {
    const memory = new LinearMemory();
    const pointer = memory.allocate(64);
    memory.free(pointer);
    for (const wrong of [pointer, 0, 65, -1])
      expect(() => memory.free(wrong)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });
});

describe('the memory of a wasm backend', () => {
  test('returns to where it was after tensors and weights were disposed', async () => {
    await using backend = await createWasmBackend();
    const before = backend.memory();
    const tensors = [
      backend.upload(new Float32Array(5000)),
      backend.upload(new Uint32Array(7)),
      backend.empty({ dtype: 'f32', shape: [0, 3] }),
    ];
    const matrix = { data: new Float32Array(9 * 5), shape: [9, 5] } as const;
    const weights = [await backend.pack(matrix), await backend.pack({ gate: matrix, up: matrix })];
    expect(weights.map(({ bytes }) => bytes)).toEqual([2 * 8 * 5 * 4, 3 * 8 * 5 * 4]);
    for (const each of [...tensors, ...weights]) each.dispose();
    expect({ ...backend.memory(), reserved: 0 }).toEqual({ ...before, reserved: 0 });
  });

  test('can be borrowed without a copy, and is not freed with the tensor', async () => {
    await using backend = await createWasmBackend();
    const linear = wasmMemoryOf(backend);
    const pointer = linear.allocate(16);
    const tensor = backend.borrow({ memory: linear.memory, pointer }, { dtype: 'f32', shape: [4] });
    new Float32Array(linear.memory.buffer, pointer, 4).set([4, 3, 2, 1]);
    expect([...(await backend.read(tensor))]).toEqual([4, 3, 2, 1]);
    tensor.dispose();
    linear.free(pointer);
    expect(backend.memory().tensors).toBe(0);
  });

  test('refuses memory that is not its own, and addresses outside it', async () => {
    await using backend = await createWasmBackend();
    const { memory } = wasmMemoryOf(backend);
    const foreign = new WebAssembly.Memory({ initial: 1 });
    const desc = { dtype: 'f32', shape: [4] } as const;
    const handles = [
      undefined,
      new Float32Array(4),
      { memory: foreign, pointer: 64 },
      ...[0, 2, -4, 1.5, memory.buffer.byteLength - 12].map((pointer) => ({ memory, pointer })),
    ];
    for (const handle of handles) {
      expect(() => backend.borrow(handle, desc)).toThrow(expect.objectContaining({ code: 'invalid-argument', argument: 'handle' }));
    }
  });

  test('is gone after dispose, and disposing a tensor later is harmless', async () => {
    const backend = await createWasmBackend();
    const tensor = backend.upload(new Float32Array(3));
    await backend[Symbol.asyncDispose]();
    expect(() => tensor.dispose()).not.toThrow();
    expect(backend.memory().reserved).toBe(0);
    expect(() => wasmMemoryOf(backend)).toThrow(expect.objectContaining({ code: 'disposed' }));
  });
});
