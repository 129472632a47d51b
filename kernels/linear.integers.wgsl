// linear.wgsl for rows that are int8 already: i32 sums of 32 products, added up in f32 under the scales of both sides. Needs
// activation.wgsl and weight.q8.wgsl or weight.q4.wgsl in front, and packed_4x8_integer_dot_product.
struct Params {
  R: u32, // result rows, at least 1
  blocks: u32, // 32-deep steps over the inputs
  steps: u32, // 16-deep ones
  count: u32, // columns of this weight slice
  first: u32, // column of y where the slice begins
  N: u32, // columns of y
  pitch: u32, // vec4 of columns of the weight slice
  rowOffset: u32, // row of y of result 0, where outRows is absent
  flags: u32, // 2 bias, 4 outRows, 8 rowGate, 16 accumulate
  activation: u32,
  start: u32, // added to i in outRows and rowGate
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>; // [R][blocks][2], words of four int8
@group(0) @binding(2) var<storage, read> aScales: array<f32>; // [R][blocks]
@group(0) @binding(3) var<storage, read> weight: array<Packed>; // [K][pitch], padding is zero
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read> outRows: array<u32>; // [start + R]
@group(0) @binding(6) var<storage, read> rowGate: array<f32>; // [start + R]
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // [U, N]

const TM = 4u; // result rows per thread: as many as there are accumulators below
override NX: u32 = 16; // threads across, a vec4 of columns each
override NY: u32 = 16; // threads down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;

var<workgroup> a_tile: array<vec4<u32>, BM * 2u>; // [BM][2]
var<workgroup> a_scale: array<f32, BM>;
var<workgroup> b_tile: array<vec4<u32>, 8 * NX>; // [8][NX]
var<workgroup> b_scale: array<vec4<f32>, NX>;

// Adds the products of 4 inputs of a row with those of 4 columns.
fn dots(a: u32, b: vec4<u32>, sum: vec4<i32>) -> vec4<i32> {
  return sum + vec4(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var block = 0u; block < p.blocks; block++) {
    workgroupBarrier();
    for (var i = thread; i < BM * 2u; i += THREADS) {
      let at = min(top + i / 2u, p.R - 1u) * p.blocks + block;
      a_tile[i] = a[at * 2u + i % 2u];
      if (i % 2u == 0u) { a_scale[i / 2u] = aScales[at]; }
    }
    for (var i = thread; i < 8u * NX; i += THREADS) {
      let column = left + i % NX;
      if (column < p.pitch) {
        b_tile[i] = codes(block * 8u + i / NX, column);
        if (i < NX) { b_scale[i] = scales(block, column); }
      }
    }
    workgroupBarrier();
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    for (var half = 0u; half < 2u; half++) {
      let a0 = a_tile[row * 2u + half];
      let a1 = a_tile[row * 2u + 2u + half];
      let a2 = a_tile[row * 2u + 4u + half];
      let a3 = a_tile[row * 2u + 6u + half];
      let at = half * 4u * NX + local.x;
      var b = b_tile[at];
      s0 = dots(a0.x, b, s0);
      s1 = dots(a1.x, b, s1);
      s2 = dots(a2.x, b, s2);
      s3 = dots(a3.x, b, s3);
      b = b_tile[at + NX];
      s0 = dots(a0.y, b, s0);
      s1 = dots(a1.y, b, s1);
      s2 = dots(a2.y, b, s2);
      s3 = dots(a3.y, b, s3);
      b = b_tile[at + 2u * NX];
      s0 = dots(a0.z, b, s0);
      s1 = dots(a1.z, b, s1);
      s2 = dots(a2.z, b, s2);
      s3 = dots(a3.z, b, s3);
      b = b_tile[at + 3u * NX];
      s0 = dots(a0.w, b, s0);
      s1 = dots(a1.w, b, s1);
      s2 = dots(a2.w, b, s2);
      s3 = dots(a3.w, b, s3);
    }
    let scale = b_scale[local.x];
    c0 = fma(vec4<f32>(s0), a_scale[row] * scale, c0);
    c1 = fma(vec4<f32>(s1), a_scale[row + 1u] * scale, c1);
    c2 = fma(vec4<f32>(s2), a_scale[row + 2u] * scale, c2);
    c3 = fma(vec4<f32>(s3), a_scale[row + 3u] * scale, c3);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 16 times and compile for seconds.
  let quad = left + local.x;
  let i0 = top + row;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var sum = c0;
    switch m {
      case 1u: { sum = c1; }
      case 2u: { sum = c2; }
      case 3u: { sum = c3; }
      default: {}
    }
    var to = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { to = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var c = 0u; c < columns; c++) {
      let n = p.first + 4u * quad + c;
      var value = sum[c];
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[to * p.N + n]; }
      y[to * p.N + n] = value;
    }
  }
}
