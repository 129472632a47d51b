// A product of int8 rows with a weight in q8 or q4, block by block of 32 inputs: i32 sums, which f32 adds up under the scales of
// both sides. A tile of BM rows by NX vec4 of columns (of each part) per workgroup, TM x 4 per thread and part. Put in front of
// the kernels that say what becomes of it; needs weight.q8.wgsl or weight.q4.wgsl in front and packed_4x8_integer_dot_product.
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>; // [R][blocks][2], words of four int8
@group(0) @binding(2) var<storage, read> aScales: array<f32>; // [R][blocks]
@group(0) @binding(3) var<storage, read> weight: array<Packed>; // [K][pitch / PARTS][PARTS], padding is zero

const TM = 4u; // rows per thread: the columns of the matrix below
override PARTS: u32 = 1; // 2 gate and up, taking turns
override NX: u32 = 16; // threads across, a vec4 of columns each; a multiple of 8
override NY: u32 = 16; // threads down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;
override WIDTH: u32 = NX * PARTS; // vec4 per row of b_tile

var<workgroup> a_tile: array<vec4<u32>, BM * 2u>; // [BM][2]
var<workgroup> a_scale: array<f32, BM>;
var<workgroup> b_tile: array<vec4<u32>, 8 * WIDTH>; // [8][PARTS][NX]
var<workgroup> b_scale: array<vec4<f32>, WIDTH>; // [PARTS][NX]

// Loads a block: rows from `top`, columns from vec4 `left` of a part. Every thread calls it.
fn load_block(block: u32, top: u32, left: u32, thread: u32) {
  workgroupBarrier();
  // In one loop, so that no thread waits for one side before it asks for the other.
  for (var at = thread; at < BM * 2u + 8u * WIDTH; at += THREADS) {
    if (at < BM * 2u) {
      let source = min(top + at / 2u, p.R - 1u) * p.blocks + block;
      a_tile[at] = a[source * 2u + at % 2u];
      if (at % 2u == 0u) { a_scale[at / 2u] = aScales[source]; }
      continue;
    }
    let i = at - BM * 2u;
    let c = i % WIDTH;
    let column = left * PARTS + c;
    let to = c % PARTS * NX + c / PARTS;
    if (column < p.pitch) {
      b_tile[i - c + to] = codes(block * 8u + i / WIDTH, column);
      if (i < WIDTH) { b_scale[to] = scales(block, column); }
    }
  }
  workgroupBarrier();
}

// Adds the products of 4 inputs of a row with those of 4 columns.
fn dots(a: u32, b: vec4<u32>, sum: vec4<i32>) -> vec4<i32> {
  return sum + vec4(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
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
    var b = b_tile[at];
    s0 = dots(a0.x, b, s0);
    s1 = dots(a1.x, b, s1);
    s2 = dots(a2.x, b, s2);
    s3 = dots(a3.x, b, s3);
    b = b_tile[at + WIDTH];
    s0 = dots(a0.y, b, s0);
    s1 = dots(a1.y, b, s1);
    s2 = dots(a2.y, b, s2);
    s3 = dots(a3.y, b, s3);
    b = b_tile[at + 2u * WIDTH];
    s0 = dots(a0.z, b, s0);
    s1 = dots(a1.z, b, s1);
    s2 = dots(a2.z, b, s2);
    s3 = dots(a3.z, b, s3);
    b = b_tile[at + 3u * WIDTH];
    s0 = dots(a0.w, b, s0);
    s1 = dots(a1.w, b, s1);
    s2 = dots(a2.w, b, s2);
    s3 = dots(a3.w, b, s3);
  }
  let scale = b_scale[column];
  return mat4x4(
    vec4<f32>(s0) * (a_scale[row] * scale),
    vec4<f32>(s1) * (a_scale[row + 1u] * scale),
    vec4<f32>(s2) * (a_scale[row + 2u] * scale),
    vec4<f32>(s3) * (a_scale[row + 3u] * scale),
  );
}
