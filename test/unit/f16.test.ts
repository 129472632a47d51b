/** Half precision: every pattern, in TypeScript and in the kernels. */
import { describe, expect, test } from 'vitest';
import { fromF16Bits, toF16Bits } from '../../src/backend/f16.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { linear } from '../../src/ops/linear.ts';
import { Random } from '../random.ts';

/** IEEE 754 binary16, read as the standard says it. */
function valueOfF16(bits: number): number {
  const sign = (-1) ** (bits >> 15);
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * 2 ** -14 * (fraction / 1024) : sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}

const ALL = Array.from({ length: 65536 }, (_, bits) => bits);
const VALUES = Float32Array.from(ALL, valueOfF16);

/** Of two neighbours the nearer, of equally near ones the even pattern; by search in the sorted values. */
function nearest(value: number): number {
  const size = Math.abs(value);
  let bits = 0;
  for (let step = 16384; step >= 1; step /= 2) if (bits + step <= 0x7c00 && valueOfF16(bits + step) <= size) bits += step;
  // 65536 would follow 65504, were there no infinity.
  const above = bits === 0x7bff ? 65536 : valueOfF16(bits + 1);
  const gap = size - valueOfF16(bits) - (above - size);
  if (bits < 0x7c00 && (gap > 0 || (gap === 0 && bits % 2 === 1))) bits++;
  return bits | (value < 0 || Object.is(value, -0) ? 0x8000 : 0);
}

/** Every finite pattern, its neighbours in f32, the midpoints and their neighbours, and numbers of every exponent. */
function samples(): Float32Array {
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const found: number[] = [0, -0, Number.POSITIVE_INFINITY, 65519.996, 65520, 1e30, 1e-30, -1e-30, 2 ** -25, 2 ** -25 * 1.0000001];
  for (let half = 0; half < 0x7c00; half++) {
    for (const value of [valueOfF16(half), (valueOfF16(half) + (half === 0x7bff ? 65536 : valueOfF16(half + 1))) / 2]) {
      float[0] = value;
      const at = bits[0]!;
      for (const near of [at - 1, at, at + 1]) {
        if (near < 0) continue;
        bits[0] = near;
        found.push(float[0]!);
      }
    }
  }
  const random = new Random(1);
  for (let i = 0; i < 20000; i++) {
    bits[0] = random.below(0x7f800000);
    found.push(-float[0]!);
  }
  return Float32Array.from(found);
}

test('all 65536 patterns have their value, and their value has the pattern', () => {
  for (const bits of ALL) {
    expect(fromF16Bits(bits)).toBe(valueOfF16(bits));
    expect(toF16Bits(valueOfF16(bits))).toBe(Number.isNaN(valueOfF16(bits)) ? 0x7e00 : bits);
  }
});

test('f32 rounds to the nearest f16, ties to even', () => {
  for (const value of samples())
    if (toF16Bits(value) !== nearest(value)) expect([value, toF16Bits(value)]).toEqual([value, nearest(value)]);
});

describe.each(['simd128', 'relaxed'] as const)('kernels of the %s binary', (variant) => {
  /** What `rows` rows of 1 make of weights [N, 1] of dtype f16: the weights. */
  async function roundTrip(weights: Float32Array, rows: number): Promise<Float32Array> {
    await using backend = await createWasmBackend({ variant });
    const N = weights.length;
    const weight = await backend.pack({ data: weights, shape: [N, 1] }, { dtype: 'f16' });
    const x = backend.upload(new Float32Array(rows).fill(1), [rows, 1]);
    const y = backend.empty({ dtype: 'f32', shape: [rows, N] });
    backend.run(linear, { x, weight, y }, {});
    return (await backend.read(y)).slice(0, N);
  }

  // One row of finite weights is expanded in the tile, anything else in the panel. A sum that starts from 0 has no -0.
  test.each([
    ['one row, finite', 1, VALUES.filter((value) => Number.isFinite(value))],
    ['one row, all', 1, VALUES],
    ['two rows, all', 2, VALUES],
  ])('every pattern comes back: %s', async (_, rows, values) => {
    expect(await roundTrip(values, rows)).toEqual(values.map((value) => value + 0));
  });

  test('weights are rounded as in TypeScript', async () => {
    const values = samples();
    expect(await roundTrip(values, 2)).toEqual(values.map((value) => valueOfF16(toF16Bits(value)) + 0));
  });
});
