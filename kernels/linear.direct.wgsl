// The same as linear.wgsl, to the bit, for software adapters: to them barriers and workgroup memory are dear, and so is compiling both.
// An invocation owns 8 rows and two vec4 of columns. A load is what takes lavapipe longest to compile, a dozen blocks of code to each
// number, so the loop over the inputs has as few as can be: one depth at a time.
// Needs activation.wgsl and weight.*.wgsl in front.
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

const TM = 8u; // rows: as many as there are accumulators below, and invocations
const THREADS = 8u; // of two vec4 of columns: a panel of the weight, so none has to return early
override NORM: bool = false; // rms norm. Not in the flags: without one, its code is to be left out

var<workgroup> scales: array<f32, TM>; // of the norm

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
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  var d0 = vec4<f32>();
  var d1 = vec4<f32>();
  var d2 = vec4<f32>();
  var d3 = vec4<f32>();
  var d4 = vec4<f32>();
  var d5 = vec4<f32>();
  var d6 = vec4<f32>();
  var d7 = vec4<f32>();
  if (NORM) {
    scales[thread] = rms_scale(row_start(i0 + thread));
    workgroupBarrier();
  }
  for (var k = 0u; k < 4u * p.quads; k++) {
    let left = weight4(k, quad);
    let right = weight4(k, quad + 1u);
    var scale = 1.0;
    if (NORM) { scale = normWeight[k]; }
    let a0 = vec4(x[r0 + k] * scale);
    c0 = fma(a0, left, c0);
    d0 = fma(a0, right, d0);
    let a1 = vec4(x[r1 + k] * scale);
    c1 = fma(a1, left, c1);
    d1 = fma(a1, right, d1);
    let a2 = vec4(x[r2 + k] * scale);
    c2 = fma(a2, left, c2);
    d2 = fma(a2, right, d2);
    let a3 = vec4(x[r3 + k] * scale);
    c3 = fma(a3, left, c3);
    d3 = fma(a3, right, d3);
    let a4 = vec4(x[r4 + k] * scale);
    c4 = fma(a4, left, c4);
    d4 = fma(a4, right, d4);
    let a5 = vec4(x[r5 + k] * scale);
    c5 = fma(a5, left, c5);
    d5 = fma(a5, right, d5);
    let a6 = vec4(x[r6 + k] * scale);
    c6 = fma(a6, left, c6);
    d6 = fma(a6, right, d6);
    let a7 = vec4(x[r7 + k] * scale);
    c7 = fma(a7, left, c7);
    d7 = fma(a7, right, d7);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 64 times and compile for seconds.
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
      default: {}
    }
    var row = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { row = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var c = 0u; c < columns; c++) {
      let n = p.first + 4u * quad + c;
      var value = select(right, left, c < 4u)[c % 4u];
      if (NORM) { value *= scales[m]; }
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[row * p.N + n]; }
      y[row * p.N + n] = value;
    }
  }
}
