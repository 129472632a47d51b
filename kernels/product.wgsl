// What all products share: the weight, as weight.*.wgsl reads it, which comes in front. Params hold K, the inputs, and `count`, the columns of
// this slice of the weight.
#include "activation.wgsl"
@group(0) @binding(1) var<storage, read> weight: array<Packed>; // [K][columns of a part][PARTS] in panels, padding is zero; see pack.ts
override PARTS: u32 = 1; // 2: gate and up take turns, a vec4 of columns each

// vec4, and blocks of 32, of a row of K.
fn row_quads() -> u32 { return (p.K + 3u) / 4u; }
fn row_blocks() -> u32 { return (p.K + 31u) / 32u; }

// vec4 of columns of the slice, those of both parts, with its padding.
fn slice_quads() -> u32 { return (p.count + 63u) / 64u * 16u * PARTS; }

// Row m of the sums of four rows, which are the columns of the matrix. As a switch: one indexed by a variable would leave the registers.
fn row_of_four(sums: mat4x4<f32>, m: u32) -> vec4<f32> {
  switch m {
    case 1u: { return sums[1]; }
    case 2u: { return sums[2]; }
    case 3u: { return sums[3]; }
    default: { return sums[0]; }
  }
}
