// The same as gathered-ffn.wgsl, to the bit, for software adapters, as linear.direct.wgsl is to linear.wgsl: an invocation owns
// two vec4 of columns of 16 rows: gate and up of a vec4 of channels, or two of these without a gate. Needs activation.wgsl,
// gathered-ffn.inner.wgsl, lanes.*.wgsl and weight.*.wgsl in front.
struct Params {
  R: u32, // rows of h, at least 1
  quads: u32, // vec4 per row of x
  steps: u32, // 16-deep steps over the inputs
  first: u32, // column of h where the weight slice begins, a multiple of 4
  M: u32, // columns of h that are not padding
  pitch: u32, // vec4 of columns of the weight slice
  hQuads: u32, // vec4 per row of h
  flags: u32, // 1 rows, 2 layer norm by stats, 4 gateBias, 8 upBias, 16 normBias, 32 rms norm
  activation: u32,
  start: u32, // added to i in rows
  D: f32, // inputs
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T][4 * quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R], or with stats [start + R][row, mean, scale, -]
@group(0) @binding(3) var<storage, read> normWeight: array<f32>; // [4 * quads]
@group(0) @binding(4) var<storage, read> normBias: array<f32>; // [4 * quads]
@group(0) @binding(5) var<storage, read> weight: array<Packed>; // [K][pitch / PARTS][PARTS], padding is zero
@group(0) @binding(6) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(7) var<storage, read> upBias: array<f32>; // [M]
@group(0) @binding(8) var<storage, read_write> h: array<f32>; // [R][4 * hQuads]

const TM = 16u; // rows: as many as there are accumulators below
const THREADS = 8u; // of two vec4 of columns: a panel of the weight, so none has to return early
override NORM: bool = false; // whether there is one, as in linear.direct.wgsl
override PARTS: u32 = 2; // 2 gate and up, 1 up alone

var<workgroup> row_scales: array<f32, TM>; // of an rms norm

struct Row {
  start: u32, // where the row begins
  mean: f32, // of a layer norm, 0 without
  scale: f32, // 1 without
}

// Rows past the end repeat the last one and are not stored. Without a list `rows` is still bound.
fn row_at(index: u32) -> Row {
  let i = p.start + min(index, p.R - 1u);
  if (NORM && (p.flags & 2u) != 0u) {
    return Row(rows[4u * i] * p.quads * 4u, bitcast<f32>(rows[4u * i + 1u]), bitcast<f32>(rows[4u * i + 2u]));
  }
  return Row(select(i, rows[i], (p.flags & 1u) != 0u) * p.quads * 4u, 0.0, 1.0);
}

// A number of a row, normalised, but for the scale of an rms norm, which the sums get at the end.
fn input(value: f32, row: Row, scale: f32, shift: f32) -> vec4<f32> {
  if (!NORM) { return vec4(value); }
  return vec4((value - row.mean) * row.scale * scale + shift);
}

// The scale of an rms norm. Four parts, as in gathered-ffn.wgsl.
fn rms_scale(start: u32) -> f32 {
  var parts = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    let at = start + 4u * k;
    let value = vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
    parts += select(vec4<f32>(), vec4(dot(value, value)), vec4(k % 4u) == vec4(0u, 1u, 2u, 3u));
  }
  // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
  return 1.0 / sqrt((parts.x + parts.y + parts.z + parts.w) / p.D + p.eps);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i0 = group.y * TM;
  let column = 2u * (group.x * THREADS + thread);
  let r0 = row_at(i0);
  let r1 = row_at(i0 + 1u);
  let r2 = row_at(i0 + 2u);
  let r3 = row_at(i0 + 3u);
  let r4 = row_at(i0 + 4u);
  let r5 = row_at(i0 + 5u);
  let r6 = row_at(i0 + 6u);
  let r7 = row_at(i0 + 7u);
  let r8 = row_at(i0 + 8u);
  let r9 = row_at(i0 + 9u);
  let r10 = row_at(i0 + 10u);
  let r11 = row_at(i0 + 11u);
  let r12 = row_at(i0 + 12u);
  let r13 = row_at(i0 + 13u);
  let r14 = row_at(i0 + 14u);
  let r15 = row_at(i0 + 15u);
  let lane = own_lane();
  let q0 = row_at(i0 + lane).start;
  let q1 = row_at(i0 + 4u + lane).start;
  let q2 = row_at(i0 + 8u + lane).start;
  let q3 = row_at(i0 + 12u + lane).start;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  var c8 = vec4<f32>();
  var c9 = vec4<f32>();
  var c10 = vec4<f32>();
  var c11 = vec4<f32>();
  var c12 = vec4<f32>();
  var c13 = vec4<f32>();
  var c14 = vec4<f32>();
  var c15 = vec4<f32>();
  var d0 = vec4<f32>();
  var d1 = vec4<f32>();
  var d2 = vec4<f32>();
  var d3 = vec4<f32>();
  var d4 = vec4<f32>();
  var d5 = vec4<f32>();
  var d6 = vec4<f32>();
  var d7 = vec4<f32>();
  var d8 = vec4<f32>();
  var d9 = vec4<f32>();
  var d10 = vec4<f32>();
  var d11 = vec4<f32>();
  var d12 = vec4<f32>();
  var d13 = vec4<f32>();
  var d14 = vec4<f32>();
  var d15 = vec4<f32>();
  if (NORM) {
    for (var r = thread; r < TM; r += THREADS) {
      var scale = 1.0;
      if ((p.flags & 32u) != 0u) { scale = rms_scale(row_at(i0 + r).start); }
      row_scales[r] = scale;
    }
    workgroupBarrier();
  }
  for (var k = 0u; k < 4u * p.quads; k++) {
    let first = weight4(k, column);
    let second = weight4(k, column + 1u);
    var scale = 1.0;
    var shift = 0.0;
    if (NORM) { scale = normWeight[k]; }
    if (NORM && (p.flags & 16u) != 0u) { shift = normBias[k]; }
    let own0 = own(q0 + k);
    let own1 = own(q1 + k);
    let own2 = own(q2 + k);
    let own3 = own(q3 + k);
    let a0 = input(lane0(own0, r0.start + k), r0, scale, shift);
    c0 = fma(a0, first, c0);
    d0 = fma(a0, second, d0);
    let a1 = input(lane1(own0, r1.start + k), r1, scale, shift);
    c1 = fma(a1, first, c1);
    d1 = fma(a1, second, d1);
    let a2 = input(lane2(own0, r2.start + k), r2, scale, shift);
    c2 = fma(a2, first, c2);
    d2 = fma(a2, second, d2);
    let a3 = input(lane3(own0, r3.start + k), r3, scale, shift);
    c3 = fma(a3, first, c3);
    d3 = fma(a3, second, d3);
    let a4 = input(lane0(own1, r4.start + k), r4, scale, shift);
    c4 = fma(a4, first, c4);
    d4 = fma(a4, second, d4);
    let a5 = input(lane1(own1, r5.start + k), r5, scale, shift);
    c5 = fma(a5, first, c5);
    d5 = fma(a5, second, d5);
    let a6 = input(lane2(own1, r6.start + k), r6, scale, shift);
    c6 = fma(a6, first, c6);
    d6 = fma(a6, second, d6);
    let a7 = input(lane3(own1, r7.start + k), r7, scale, shift);
    c7 = fma(a7, first, c7);
    d7 = fma(a7, second, d7);
    let a8 = input(lane0(own2, r8.start + k), r8, scale, shift);
    c8 = fma(a8, first, c8);
    d8 = fma(a8, second, d8);
    let a9 = input(lane1(own2, r9.start + k), r9, scale, shift);
    c9 = fma(a9, first, c9);
    d9 = fma(a9, second, d9);
    let a10 = input(lane2(own2, r10.start + k), r10, scale, shift);
    c10 = fma(a10, first, c10);
    d10 = fma(a10, second, d10);
    let a11 = input(lane3(own2, r11.start + k), r11, scale, shift);
    c11 = fma(a11, first, c11);
    d11 = fma(a11, second, d11);
    let a12 = input(lane0(own3, r12.start + k), r12, scale, shift);
    c12 = fma(a12, first, c12);
    d12 = fma(a12, second, d12);
    let a13 = input(lane1(own3, r13.start + k), r13, scale, shift);
    c13 = fma(a13, first, c13);
    d13 = fma(a13, second, d13);
    let a14 = input(lane2(own3, r14.start + k), r14, scale, shift);
    c14 = fma(a14, first, c14);
    d14 = fma(a14, second, d14);
    let a15 = input(lane3(own3, r15.start + k), r15, scale, shift);
    c15 = fma(a15, first, c15);
    d15 = fma(a15, second, d15);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` over and over and compile for seconds.
  let left = p.first + 4u * (column / PARTS);
  let columns = min(8u / PARTS, 4u * p.hQuads - min(left, 4u * p.hQuads));
  for (var r = 0u; r < TM && i0 + r < p.R; r++) {
    var first = c0;
    var second = d0;
    switch r {
      case 1u: { first = c1; second = d1; }
      case 2u: { first = c2; second = d2; }
      case 3u: { first = c3; second = d3; }
      case 4u: { first = c4; second = d4; }
      case 5u: { first = c5; second = d5; }
      case 6u: { first = c6; second = d6; }
      case 7u: { first = c7; second = d7; }
      case 8u: { first = c8; second = d8; }
      case 9u: { first = c9; second = d9; }
      case 10u: { first = c10; second = d10; }
      case 11u: { first = c11; second = d11; }
      case 12u: { first = c12; second = d12; }
      case 13u: { first = c13; second = d13; }
      case 14u: { first = c14; second = d14; }
      case 15u: { first = c15; second = d15; }
      default: {}
    }
    if (NORM) {
      first *= row_scales[r];
      second *= row_scales[r];
    }
    for (var c = 0u; c < columns; c++) {
      let at = (i0 + r) * p.hQuads * 4u + left + c;
      h[at] = inner(left + c, select(second, first, c < 4u)[c % 4u], second[c % 4u]);
    }
  }
}
