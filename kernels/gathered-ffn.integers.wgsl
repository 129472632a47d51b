// gathered-ffn.wgsl for rows that are int8 already (linear.quantize.wgsl), and that makes such rows: h is quantized before it
// leaves the registers. i32 sums of 32 products, added up in f32 under the scales of both sides. Needs activation.wgsl, int8.wgsl
// and weight.q8.wgsl or weight.q4.wgsl in front.
struct Params {
  R: u32, // rows of h, at least 1
  blocks: u32, // 32-deep steps over the inputs
  steps: u32, // 16-deep ones
  first: u32, // column of h where the weight slice begins, a multiple of 64
  M: u32, // columns of h that are not padding
  pitch: u32, // vec4 of columns of the weight slice
  hBlocks: u32, // blocks of 32 columns of h
  flags: u32, // 4 gateBias, 8 upBias
  activation: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>; // [R][blocks][2], words of four int8
@group(0) @binding(2) var<storage, read> aScales: array<f32>; // [R][blocks]
@group(0) @binding(3) var<storage, read> weight: array<Packed>; // [K][pitch / PARTS][PARTS], padding is zero
@group(0) @binding(4) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(5) var<storage, read> upBias: array<f32>; // [M]
@group(0) @binding(6) var<storage, read_write> h: array<u32>; // [R][hBlocks][8], words of four int8
@group(0) @binding(7) var<storage, read_write> hScales: array<f32>; // [R][hBlocks]

const TM = 4u; // rows per thread: as many as there are accumulators below
override PARTS: u32 = 2; // 2 gate and up, 1 up alone
override NX: u32 = 16; // threads across, a vec4 of columns each; a multiple of 8
override NY: u32 = 16; // threads down
override THREADS: u32 = NX * NY;
override OF_BLOCKS: u32 = THREADS;
override BM: u32 = NY * TM;
override WIDTH: u32 = NX * PARTS; // vec4 per row of b_tile

var<workgroup> a_tile: array<vec4<u32>, BM * 2u>; // [BM][2]
var<workgroup> a_scale: array<f32, BM>;
var<workgroup> b_tile: array<vec4<u32>, 8 * WIDTH>; // [8][PARTS][NX]
var<workgroup> b_scale: array<vec4<f32>, WIDTH>; // [PARTS][NX]

// Adds the products of 4 inputs of a row with those of 4 columns.
fn dots(a: u32, b: vec4<u32>, sum: vec4<i32>) -> vec4<i32> {
  return sum + vec4(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}

// Channel m of h from its sums. Padding (m >= M) becomes 0, as act(0) is.
fn inner(m: u32, first: f32, second: f32) -> f32 {
  var value = first;
  var up = second;
  if (m < p.M) {
    if (PARTS == 2u && (p.flags & 4u) != 0u) { value += gateBias[m]; }
    if ((p.flags & 8u) != 0u) {
      if (PARTS == 2u) { up += upBias[m]; } else { value += upBias[m]; }
    }
  }
  value = activate(p.activation, value);
  if (PARTS == 2u) { value *= up; }
  return value;
}

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var g2 = vec4<f32>();
  var g3 = vec4<f32>();
  var u0 = vec4<f32>();
  var u1 = vec4<f32>();
  var u2 = vec4<f32>();
  var u3 = vec4<f32>();
  for (var block = 0u; block < p.blocks; block++) {
    workgroupBarrier();
    for (var i = thread; i < BM * 2u; i += THREADS) {
      let at = min(top + i / 2u, p.R - 1u) * p.blocks + block;
      a_tile[i] = a[at * 2u + i % 2u];
      if (i % 2u == 0u) { a_scale[i / 2u] = aScales[at]; }
    }
    for (var i = thread; i < 8u * WIDTH; i += THREADS) {
      let c = i % WIDTH;
      let column = left * PARTS + c;
      let to = c % PARTS * NX + c / PARTS;
      if (column < p.pitch) {
        b_tile[i - c + to] = codes(block * 8u + i / WIDTH, column);
        if (i < WIDTH) { b_scale[to] = scales(block, column); }
      }
    }
    workgroupBarrier();
    // The parts one after the other, which needs fewer registers.
    for (var part = 0u; part < PARTS; part++) {
      var s0 = vec4<i32>();
      var s1 = vec4<i32>();
      var s2 = vec4<i32>();
      var s3 = vec4<i32>();
      for (var half = 0u; half < 2u; half++) {
        let a0 = a_tile[row * 2u + half];
        let a1 = a_tile[row * 2u + 2u + half];
        let a2 = a_tile[row * 2u + 4u + half];
        let a3 = a_tile[row * 2u + 6u + half];
        let at = half * 4u * WIDTH + part * NX + local.x;
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
      let scale = b_scale[part * NX + local.x];
      let f0 = vec4<f32>(s0) * (a_scale[row] * scale);
      let f1 = vec4<f32>(s1) * (a_scale[row + 1u] * scale);
      let f2 = vec4<f32>(s2) * (a_scale[row + 2u] * scale);
      let f3 = vec4<f32>(s3) * (a_scale[row + 3u] * scale);
      if (part == 0u) {
        g0 += f0;
        g1 += f1;
        g2 += f2;
        g3 += f3;
      } else {
        u0 += f0;
        u1 += f1;
        u2 += f2;
        u3 += f3;
      }
    }
  }
  let quad = p.first / 4u + left + local.x;
  let inside = (left + local.x) * PARTS < p.pitch && quad < 8u * p.hBlocks;
  // A loop with a bound unknown to the compiler: unrolled, it would repeat `activate` 16 times and compile for seconds.
  for (var r = 0u; r < min(TM, p.R); r++) {
    var first = g0;
    var second = u0;
    switch r {
      case 1u: { first = g1; second = u1; }
      case 2u: { first = g2; second = u2; }
      case 3u: { first = g3; second = u3; }
      default: {}
    }
    var value = vec4<f32>();
    for (var c = 0u; c < min(4u, p.M); c++) { value[c] = inner(4u * quad + c, first[c], second[c]); }
    let scale = scale_of_block(value, thread);
    let i = top + row + r;
    if (inside && i < p.R) {
      h[i * p.hBlocks * 8u + quad] = int8_of(value, scale);
      if (quad % 8u == 0u) { hScales[i * p.hBlocks + quad / 8u] = scale; }
    }
  }
}
