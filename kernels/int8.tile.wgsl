// A product of int8 rows with a weight in q8 or q4, block by block of 32 inputs: i32 sums, which f32 adds up under the scales of both
// sides. A tile of BM rows by NX vec4 of columns (of each part) a workgroup, TM x 4 an invocation and part. Needs
// packed_4x8_integer_dot_product.
#include "product.wgsl"
@group(0) @binding(6) var<storage, read> a: array<vec4<u32>>; // [R][blocks of K][2], words of four int8
@group(0) @binding(7) var<storage, read> aScales: array<f32>; // [R][blocks of K]

const TM = 4u; // rows per invocation: the columns of the matrix below
override NX: u32 = 16; // invocations across, a vec4 of columns each; a multiple of 8
override NY: u32 = 16; // invocations down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;
override WIDTH: u32 = NX * PARTS; // vec4 per row of b_tile

var<workgroup> a_tile: array<vec4<u32>, BM * 2u>; // [BM][2]
var<workgroup> a_scale: array<f32, BM>;
var<workgroup> b_tile: array<vec4<u32>, 8 * WIDTH>; // [8][PARTS][NX]
var<workgroup> b_scale: array<vec4<f32>, WIDTH>; // [PARTS][NX]

// Loads a block: rows from `top`, columns from vec4 `left` of a part. Every invocation calls it.
fn load_block(block: u32, top: u32, left: u32, thread: u32) {
  workgroupBarrier();
  // In one loop, so that no invocation waits for one side before it asks for the other.
  for (var at = thread; at < BM * 2u + 8u * WIDTH; at += THREADS) {
    if (at < BM * 2u) {
      let source = min(top + at / 2u, p.R - 1u) * row_blocks() + block;
      a_tile[at] = a[source * 2u + at % 2u];
      if (at % 2u == 0u) { a_scale[at / 2u] = aScales[source]; }
      continue;
    }
    let i = at - BM * 2u;
    let c = i % WIDTH;
    let column = left * PARTS + c;
    let to = c % PARTS * NX + c / PARTS;
    if (column < slice_quads()) {
      b_tile[i - c + to] = codes(block * 8u + i / WIDTH, column);
      if (i < WIDTH) { b_scale[to] = scales(block, column); }
    }
  }
  workgroupBarrier();
}

// The products of 4 inputs of a row with those of 4 columns.
fn dots(a: u32, b: vec4<u32>) -> vec4<i32> {
  return vec4(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}

// What the loaded block adds to the results of rows [row, row + TM) and vec4 `column` of b_tile, a row in each column.
fn products(row: u32, column: u32) -> mat4x4<f32> {
  var s0 = vec4<i32>();
  var s1 = vec4<i32>();
  var s2 = vec4<i32>();
  var s3 = vec4<i32>();
  for (var half = 0u; half < 2u; half++) {
    let a0 = a_tile[row * 2u + half];
    let a1 = a_tile[row * 2u + 2u + half];
    let a2 = a_tile[row * 2u + 4u + half];
    let a3 = a_tile[row * 2u + 6u + half];
    let at = half * 4u * WIDTH + column;
    let b0 = b_tile[at];
    let b1 = b_tile[at + WIDTH];
    let b2 = b_tile[at + 2u * WIDTH];
    let b3 = b_tile[at + 3u * WIDTH];
    s0 += dots(a0.x, b0) + dots(a0.y, b1) + dots(a0.z, b2) + dots(a0.w, b3);
    s1 += dots(a1.x, b0) + dots(a1.y, b1) + dots(a1.z, b2) + dots(a1.w, b3);
    s2 += dots(a2.x, b0) + dots(a2.y, b1) + dots(a2.z, b2) + dots(a2.w, b3);
    s3 += dots(a3.x, b0) + dots(a3.y, b1) + dots(a3.z, b2) + dots(a3.w, b3);
  }
  let scale = b_scale[column];
  return mat4x4(
    vec4<f32>(s0) * (a_scale[row] * scale),
    vec4<f32>(s1) * (a_scale[row + 1u] * scale),
    vec4<f32>(s2) * (a_scale[row + 2u] * scale),
    vec4<f32>(s3) * (a_scale[row + 3u] * scale),
  );
}
