// Copies new keys and values into the cache from row `at` on, one invocation per 32 bits of both: one f32 or two f16.
#include "element.wgsl"
override PER_WORD: u32 = 1; // numbers in 32 bits of k and v: 1 of f32, or 2 of f16
struct Params {
  A: u32,
  n: u32,
  C: u32,
  words: u32, // of a row of k: W f32, or W / 2 of two f16
  at: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> kNew: array<u32>; // [A, n, W], bits of f32
@group(0) @binding(2) var<storage, read> vNew: array<u32>; // [A, n, W], bits of f32
@group(0) @binding(3) var<storage, read_write> k: array<u32>; // [A, C, words]
@group(0) @binding(4) var<storage, read_write> v: array<u32>; // [A, C, words]

// The f16 nearest to an f32, ties to even. In integers: WGSL leaves the rounding of pack2x16float open.
fn half_of(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size >= 0x47800000u) { return sign | select(0x7c00u, 0x7e00u, size > 0x7f800000u); } // from 2^16 on, or no number
  if (size >= 0x38800000u) { return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u); } // from 2^-14 on
  // A subnormal, in steps of 2^-24: shifted out by 25 bits, whatever is too small is 0.
  let shift = min(126u - (size >> 23u), 25u);
  let fraction = (size & 0x7fffffu) | 0x800000u;
  return sign | ((fraction + (1u << (shift - 1u)) - 1u + ((fraction >> shift) & 1u)) >> shift);
}

fn element(word: u32) {
  let block = p.n * p.words;
  if (word >= p.A * block) { return; }
  let to = (word / block * p.C + p.at) * p.words + word % block;
  if (PER_WORD == 2u) {
    k[to] = half_of(kNew[2u * word]) | (half_of(kNew[2u * word + 1u]) << 16u);
    v[to] = half_of(vNew[2u * word]) | (half_of(vNew[2u * word + 1u]) << 16u);
  } else {
    k[to] = kNew[word];
    v[to] = vNew[word];
  }
}
