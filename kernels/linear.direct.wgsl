// The same as linear.wgsl, to the bit, for software adapters: to them barriers and workgroup memory are dear, and so is compiling both.
// An invocation owns 16 rows and two vec4 of columns. A load is what takes lavapipe longest to compile, a dozen blocks of code to each
// number, so the loop over the inputs has as few as can be: one depth at a time, and rows are shared by lanes.*.wgsl.
// Needs that, activation.wgsl and weight.*.wgsl in front.
struct Params {
  R: u32, // result rows, at least 1
  quads: u32, // vec4 per row of x
  steps: u32, // 16-deep steps over the inputs
  count: u32, // columns of this weight slice
  first: u32, // column of y where the slice begins
  N: u32, // columns of y
  pitch: u32, // vec4 of columns of the weight slice
  rowOffset: u32, // row of y of result 0, where outRows is absent
  flags: u32, // 1 rows, 2 bias, 4 outRows, 8 rowGate, 16 accumulate
  activation: u32,
  start: u32, // added to i in rows, outRows and rowGate
  K: f32, // inputs
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T][4 * quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R]
@group(0) @binding(3) var<storage, read> weight: array<Packed>; // [K][pitch], padding is zero
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read> outRows: array<u32>; // [start + R]
@group(0) @binding(6) var<storage, read> rowGate: array<f32>; // [start + R]
@group(0) @binding(7) var<storage, read> normWeight: array<f32>; // [4 * quads]
@group(0) @binding(8) var<storage, read_write> y: array<f32>; // [U, N]

const TM = 16u; // rows: as many as there are accumulators below
const THREADS = 8u; // of two vec4 of columns: a panel of the weight, so none has to return early
override NORM: bool = false; // rms norm. Not in the flags: without one, its code is to be left out

var<workgroup> row_scales: array<f32, TM>; // of the norm

// Where the row of result i begins in x; past the end that of the last one, which is not stored. Without a list `rows` is still bound.
fn row_start(i: u32) -> u32 {
  let row = min(i, p.R - 1u);
  return select(row, rows[p.start + row], (p.flags & 1u) != 0u) * p.quads * 4u;
}

// What a row is multiplied with by an rms norm, which its sums get at the end. Four parts, as in linear.wgsl.
fn rms_scale(row: u32) -> f32 {
  var parts = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    let at = row + 4u * k;
    let value = vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
    parts += select(vec4<f32>(), vec4(dot(value, value)), vec4(k % 4u) == vec4(0u, 1u, 2u, 3u));
  }
  // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
  return 1.0 / sqrt((parts.x + parts.y + parts.z + parts.w) / p.K + p.eps);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i0 = group.y * TM;
  let quad = 2u * (group.x * THREADS + thread);
  let r0 = row_start(i0);
  let r1 = row_start(i0 + 1u);
  let r2 = row_start(i0 + 2u);
  let r3 = row_start(i0 + 3u);
  let r4 = row_start(i0 + 4u);
  let r5 = row_start(i0 + 5u);
  let r6 = row_start(i0 + 6u);
  let r7 = row_start(i0 + 7u);
  let r8 = row_start(i0 + 8u);
  let r9 = row_start(i0 + 9u);
  let r10 = row_start(i0 + 10u);
  let r11 = row_start(i0 + 11u);
  let r12 = row_start(i0 + 12u);
  let r13 = row_start(i0 + 13u);
  let r14 = row_start(i0 + 14u);
  let r15 = row_start(i0 + 15u);
  let q0 = row_start(i0 + own_lane());
  let q1 = row_start(i0 + 4u + own_lane());
  let q2 = row_start(i0 + 8u + own_lane());
  let q3 = row_start(i0 + 12u + own_lane());
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
      row_scales[r] = rms_scale(row_start(i0 + r));
    }
    workgroupBarrier();
  }
  for (var k = 0u; k < 4u * p.quads; k++) {
    let left = weight4(k, quad);
    let right = weight4(k, quad + 1u);
    var scale = 1.0;
    if (NORM) { scale = normWeight[k]; }
    let own0 = own(q0 + k);
    let own1 = own(q1 + k);
    let own2 = own(q2 + k);
    let own3 = own(q3 + k);
    let a0 = vec4(lane0(own0, r0 + k) * scale);
    c0 = fma(a0, left, c0);
    d0 = fma(a0, right, d0);
    let a1 = vec4(lane1(own0, r1 + k) * scale);
    c1 = fma(a1, left, c1);
    d1 = fma(a1, right, d1);
    let a2 = vec4(lane2(own0, r2 + k) * scale);
    c2 = fma(a2, left, c2);
    d2 = fma(a2, right, d2);
    let a3 = vec4(lane3(own0, r3 + k) * scale);
    c3 = fma(a3, left, c3);
    d3 = fma(a3, right, d3);
    let a4 = vec4(lane0(own1, r4 + k) * scale);
    c4 = fma(a4, left, c4);
    d4 = fma(a4, right, d4);
    let a5 = vec4(lane1(own1, r5 + k) * scale);
    c5 = fma(a5, left, c5);
    d5 = fma(a5, right, d5);
    let a6 = vec4(lane2(own1, r6 + k) * scale);
    c6 = fma(a6, left, c6);
    d6 = fma(a6, right, d6);
    let a7 = vec4(lane3(own1, r7 + k) * scale);
    c7 = fma(a7, left, c7);
    d7 = fma(a7, right, d7);
    let a8 = vec4(lane0(own2, r8 + k) * scale);
    c8 = fma(a8, left, c8);
    d8 = fma(a8, right, d8);
    let a9 = vec4(lane1(own2, r9 + k) * scale);
    c9 = fma(a9, left, c9);
    d9 = fma(a9, right, d9);
    let a10 = vec4(lane2(own2, r10 + k) * scale);
    c10 = fma(a10, left, c10);
    d10 = fma(a10, right, d10);
    let a11 = vec4(lane3(own2, r11 + k) * scale);
    c11 = fma(a11, left, c11);
    d11 = fma(a11, right, d11);
    let a12 = vec4(lane0(own3, r12 + k) * scale);
    c12 = fma(a12, left, c12);
    d12 = fma(a12, right, d12);
    let a13 = vec4(lane1(own3, r13 + k) * scale);
    c13 = fma(a13, left, c13);
    d13 = fma(a13, right, d13);
    let a14 = vec4(lane2(own3, r14 + k) * scale);
    c14 = fma(a14, left, c14);
    d14 = fma(a14, right, d14);
    let a15 = vec4(lane3(own3, r15 + k) * scale);
    c15 = fma(a15, left, c15);
    d15 = fma(a15, right, d15);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` over and over and compile for seconds.
  let columns = min(8u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var left = c0;
    var right = d0;
    switch m {
      case 1u: { left = c1; right = d1; }
      case 2u: { left = c2; right = d2; }
      case 3u: { left = c3; right = d3; }
      case 4u: { left = c4; right = d4; }
      case 5u: { left = c5; right = d5; }
      case 6u: { left = c6; right = d6; }
      case 7u: { left = c7; right = d7; }
      case 8u: { left = c8; right = d8; }
      case 9u: { left = c9; right = d9; }
      case 10u: { left = c10; right = d10; }
      case 11u: { left = c11; right = d11; }
      case 12u: { left = c12; right = d12; }
      case 13u: { left = c13; right = d13; }
      case 14u: { left = c14; right = d14; }
      case 15u: { left = c15; right = d15; }
      default: {}
    }
    var row = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { row = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var c = 0u; c < columns; c++) {
      let n = p.first + 4u * quad + c;
      var value = select(right, left, c < 4u)[c % 4u];
      if (NORM) { value *= row_scales[m]; }
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[row * p.N + n]; }
      y[row * p.N + n] = value;
    }
  }
}
