/** Half-precision numbers as their bits: typed arrays of them exist only in the newest engines. */

// Marked, as bundlers load a file first whose top level may do something.
const shared = /* @__PURE__ */ new ArrayBuffer(4);
const float = /* @__PURE__ */ new Float32Array(shared);
const bits = /* @__PURE__ */ new Uint32Array(shared);

/** The f16 nearest to an f32, ties to even; infinity from 65520 on; NaN stays NaN. */
export function toF16Bits(value: number): number {
  float[0] = value;
  const sign = (bits[0]! >>> 16) & 0x8000;
  const size = bits[0]! & 0x7fffffff;
  if (size >= 0x47800000) return sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (size < 0x38800000) {
    // Beside 0.5 a float has steps of 2^-24, as subnormal f16 have: the addition rounds.
    bits[0] = size;
    float[0] = float[0]! + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
}

/** Stored numbers as floats. */
export function widened(stored: Float32Array | Uint16Array): Float32Array {
  return stored instanceof Uint16Array ? Float32Array.from(stored, fromF16Bits) : stored;
}

export function fromF16Bits(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}
