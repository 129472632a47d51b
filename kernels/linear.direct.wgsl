// The same as linear.wgsl, to the bit, for software adapters: to them barriers and workgroup memory are dear, and so is compiling both.
// An invocation owns 8 rows and two vec4 of columns; its workgroup reads the same x, which such an adapter then loads once.
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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R]
@group(0) @binding(3) var<storage, read> weight: array<Packed>; // [K][pitch], padding is zero
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read> outRows: array<u32>; // [start + R]
@group(0) @binding(6) var<storage, read> rowGate: array<f32>; // [start + R]
@group(0) @binding(7) var<storage, read> normWeight: array<vec4<f32>>; // [quads]
@group(0) @binding(8) var<storage, read_write> y: array<f32>; // [U, N]

const TM = 8u; // rows: as many as there are accumulators below
const THREADS = 8u; // of two vec4 of columns: a panel of the weight, so none has to return early
override NORM: bool = false; // rms norm. Not in the flags: a branch for each x would double the time

// Where the row of result i begins in x; past the end that of the last one, which is not stored.
fn row_start(i: u32) -> u32 {
  var row = min(i, p.R - 1u);
  if ((p.flags & 1u) != 0u) { row = rows[p.start + row]; }
  return row * p.quads;
}

// x at vec4 k of a row; with an rms norm without its scale, which the sums get at the end. `square` has a part for every fourth k, as
// in linear.wgsl.
fn input(row: u32, k: u32, square: ptr<function, vec4<f32>>) -> vec4<f32> {
  let value = x[row + k];
  if (!NORM) { return value; }
  *square += select(vec4<f32>(), vec4(dot(value, value)), vec4(k % 4u) == vec4(0u, 1u, 2u, 3u));
  return value * normWeight[k];
}

fn product(a: vec4<f32>, b: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
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
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  var s4 = vec4<f32>();
  var s5 = vec4<f32>();
  var s6 = vec4<f32>();
  var s7 = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    let a0 = input(r0, k, &s0);
    let a1 = input(r1, k, &s1);
    let a2 = input(r2, k, &s2);
    let a3 = input(r3, k, &s3);
    let a4 = input(r4, k, &s4);
    let a5 = input(r5, k, &s5);
    let a6 = input(r6, k, &s6);
    let a7 = input(r7, k, &s7);
    var b = weight4x4(k, quad);
    c0 = product(a0, b, c0);
    c1 = product(a1, b, c1);
    c2 = product(a2, b, c2);
    c3 = product(a3, b, c3);
    c4 = product(a4, b, c4);
    c5 = product(a5, b, c5);
    c6 = product(a6, b, c6);
    c7 = product(a7, b, c7);
    b = weight4x4(k, quad + 1u);
    d0 = product(a0, b, d0);
    d1 = product(a1, b, d1);
    d2 = product(a2, b, d2);
    d3 = product(a3, b, d3);
    d4 = product(a4, b, d4);
    d5 = product(a5, b, d5);
    d6 = product(a6, b, d6);
    d7 = product(a7, b, d7);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 64 times and compile for seconds.
  let columns = min(8u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var left = c0;
    var right = d0;
    var square = s0;
    switch m {
      case 1u: { left = c1; right = d1; square = s1; }
      case 2u: { left = c2; right = d2; square = s2; }
      case 3u: { left = c3; right = d3; square = s3; }
      case 4u: { left = c4; right = d4; square = s4; }
      case 5u: { left = c5; right = d5; square = s5; }
      case 6u: { left = c6; right = d6; square = s6; }
      case 7u: { left = c7; right = d7; square = s7; }
      default: {}
    }
    // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
    var scale = 1.0;
    if (NORM) { scale = 1.0 / sqrt((square.x + square.y + square.z + square.w) / p.K + p.eps); }
    var row = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { row = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var c = 0u; c < columns; c++) {
      let n = p.first + 4u * quad + c;
      var value = select(right, left, c < 4u)[c % 4u];
      if (NORM) { value *= scale; }
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[row * p.N + n]; }
      y[row * p.N + n] = value;
    }
  }
}
