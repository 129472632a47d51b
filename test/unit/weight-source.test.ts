/** Readers of quantized files against values computed by hand, and what float weights become. */
import { expect, test } from 'vitest';
import { q4Of, quantizeQ4, quantizeQ8 } from '../../src/backend/quantize.ts';
import { readerOf } from '../../src/backend/weight-source.ts';

const HALF = [0x00, 0x38]; // f16 0.5
const MINUS_TWO = [0x00, 0xc0];
const numbers = (length: number, value: (i: number) => number) => Array.from({ length }, (_, i) => value(i));
/** 0 for -0: a code of 0 times a negative scale. */
const plus = (values: Float32Array) => Array.from(values, (value) => value + 0);

test('GGUF Q4_0: scale, then weights 0-15 in the low and 16-31 in the high nibbles, minus 8', async () => {
  const first = [...HALF, ...numbers(16, (i) => i | ((15 - i) << 4))];
  const second = [...MINUS_TWO, ...numbers(16, () => 0x80)];
  const reader = await readerOf({ format: 'q4_0', data: Uint8Array.from([...first, ...second]), shape: [1, 64] });
  const want = [
    ...numbers(16, (i) => 0.5 * (i - 8)),
    ...numbers(16, (i) => 0.5 * (7 - i)),
    ...numbers(16, () => 16),
    ...numbers(16, () => 0),
  ];
  expect(plus(reader.rows(0, 1))).toEqual(want);
  const { codes, scales, zeros } = q4Of(reader, 0, 1);
  expect(Array.from(codes)).toEqual([
    ...numbers(16, (i) => i),
    ...numbers(16, (i) => 15 - i),
    ...numbers(16, () => 0),
    ...numbers(16, () => 8),
  ]);
  expect([Array.from(scales), Array.from(zeros), reader.hasZeros]).toEqual([[0x3800, 0xc000], [8, 8], false]);
});

test('GGUF Q8_0: scale, then 32 int8; rows are found by their number', async () => {
  const row = (scale: number[], sign: number) => [...scale, ...numbers(32, (i) => (sign * (i - 16) * 8) & 255)];
  const reader = await readerOf({ format: 'q8_0', data: Uint8Array.from([...row(HALF, 1), ...row(MINUS_TWO, -1)]), shape: [2, 32] });
  expect(Array.from(reader.rows(0, 1))).toEqual(numbers(32, (i) => 4 * (i - 16)));
  // -(-16) * 8 = 128 is stored as -128
  expect(plus(reader.rows(1, 1))).toEqual(numbers(32, (i) => (i === 0 ? 256 : 16 * (i - 16))));
});

test('MatMulNBits: weight 2i in the low and 2i + 1 in the high nibble, zero points two to a byte along a row', async () => {
  const [N, K] = [2, 96];
  const data = Uint8Array.from({ length: (N * K) / 2 }, (_, i) => ((2 * i) % 16) | (((2 * i + 1) % 16) << 4));
  const scales = Float32Array.of(0.5, 1, 2, 4, 8, 0.1);
  const zeroPoints = Uint8Array.of(0x21, 0x03, 0x54, 0x06);
  const zeros = [1, 2, 3, 4, 5, 6];
  const want = (scale: (block: number) => number, zero: (block: number) => number) =>
    numbers(N * K, (i) => Math.fround(((i % 16) - zero(Math.floor(i / 32))) * scale(Math.floor(i / 32))));
  const reader = await readerOf({ format: 'matmul_nbits', data, scales, zeroPoints, shape: [N, K] });
  expect(Array.from(reader.rows(0, 2))).toEqual(
    want(
      (block) => scales[block]!,
      (block) => zeros[block]!,
    ),
  );
  expect(Array.from(reader.rows(1, 1))).toEqual(
    want(
      (block) => scales[block]!,
      (block) => zeros[block]!,
    ).slice(K),
  );
  expect(reader.hasZeros).toBe(true);
  const { codes, scales: halves, zeros: codesOfZero } = q4Of(reader, 1, 1);
  expect(Array.from(codes)).toEqual(numbers(K, (i) => i % 16));
  expect([Array.from(halves), Array.from(codesOfZero)]).toEqual([
    [0x4400, 0x4800, 0x2e66],
    [4, 5, 6],
  ]);
  const plain = await readerOf({ format: 'matmul_nbits', data, scales, shape: [N, K] });
  expect(Array.from(plain.rows(0, 2))).toEqual(
    want(
      (block) => scales[block]!,
      () => 8,
    ),
  );
  expect(plain.hasZeros).toBe(false);
});

test('floats to q4: the largest weight of a block becomes code 0, an empty block and padding mean 0', () => {
  const row = Float32Array.from({ length: 70 }, (_, k) => (k < 32 ? (k % 16) - 7 : k < 64 ? 0 : k - 66));
  const { codes, scales, zeros } = quantizeQ4(row, 1, 70);
  // 8 / -8 = -1; nothing; 3 / -8 = -0.375
  expect([Array.from(scales), Array.from(zeros)]).toEqual([
    [0xbc00, 0x8000, 0xb600],
    [8, 8, 8],
  ]);
  expect(Array.from(codes.subarray(0, 32))).toEqual(numbers(32, (k) => 8 - ((k % 16) - 7)));
  expect(Array.from(codes.subarray(32, 64))).toEqual(numbers(32, () => 8));
  expect(Array.from(codes.subarray(64))).toEqual([13, 11, 8, 5, 3, 0, ...numbers(26, () => 8)]);
});

test('floats to q8: one scale to a row, codes up to the levels on both sides', () => {
  const { codes, scales } = quantizeQ8(Float32Array.of(0.9, -2, 0.5, 0, 0, 0), 2, 3, 63);
  expect([Array.from(codes.subarray(0, 3)), Array.from(codes.subarray(32, 35))]).toEqual([
    [28, -63, 16],
    [0, 0, 0],
  ]);
  expect(Array.from(scales)).toEqual([Math.fround(2 / 63), 0]);
});
