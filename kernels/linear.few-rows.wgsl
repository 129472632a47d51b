// The same as linear.wgsl for 1 to 8 rows: bound by reading the weights, which all rows share. A workgroup owns QUADS
// vec4 of columns; its threads split the inputs and meet in workgroup memory. Needs activation.wgsl and
// weight.*.wgsl in front.
struct Params {
  R: u32, // result rows, 1 to ROWS
  quads: u32, // vec4 per row of x
  steps: u32, // 16-deep steps over the inputs
  count: u32, // columns of this weight slice
  first: u32, // column of y where the slice begins
  N: u32, // columns of y
  pitch: u32, // vec4 of columns of the weight slice
  rowOffset: u32, // row of y of result 0, where outRows is absent
  flags: u32, // 1 rows, 2 bias, 4 outRows, 8 rowGate, 16 accumulate, 32 rms norm
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

override ROWS: u32 = 8; // 1, 4 or 8: accumulators in use
override QUADS: u32 = 16; // a power of two
override THREADS: u32 = 256; // a power of two, at least 4 * QUADS
override LANES: u32 = THREADS / QUADS; // threads that share the inputs of one vec4 of columns

var<workgroup> partial: array<vec4<f32>, THREADS>; // [LANES][QUADS]
var<workgroup> squares: array<f32, THREADS>; // likewise, of the row

// x[row i] at vec4 k; rows past the end repeat the last one and are not stored.
fn row_start(i: u32) -> u32 {
  let at = min(i, p.R - 1u);
  var row = at;
  if ((p.flags & 1u) != 0u) { row = rows[p.start + at]; }
  return row * p.quads;
}

// x at vec4 k of a row; with a norm without its scale, which the sums get at the end.
fn input(row: u32, k: u32, square: ptr<function, f32>) -> vec4<f32> {
  var value = x[row + k];
  if ((p.flags & 32u) != 0u) {
    *square += dot(value, value);
    value *= normWeight[k];
  }
  return value;
}

fn product(a: vec4<f32>, b: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let left = group.x * QUADS;
  let column = left + thread % QUADS;
  let r0 = row_start(0u);
  let r1 = row_start(1u);
  let r2 = row_start(2u);
  let r3 = row_start(3u);
  let r4 = row_start(4u);
  let r5 = row_start(5u);
  let r6 = row_start(6u);
  let r7 = row_start(7u);
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  var s0 = 0.0;
  var s1 = 0.0;
  var s2 = 0.0;
  var s3 = 0.0;
  var s4 = 0.0;
  var s5 = 0.0;
  var s6 = 0.0;
  var s7 = 0.0;
  if (column < p.pitch) {
    for (var k = thread / QUADS; k < p.quads; k += LANES) {
      let b = weight4x4(k, column);
      c0 = product(input(r0, k, &s0), b, c0);
      if (ROWS > 1u) { c1 = product(input(r1, k, &s1), b, c1); }
      if (ROWS > 2u) {
        c2 = product(input(r2, k, &s2), b, c2);
        c3 = product(input(r3, k, &s3), b, c3);
      }
      if (ROWS > 4u) {
        c4 = product(input(r4, k, &s4), b, c4);
        c5 = product(input(r5, k, &s5), b, c5);
        c6 = product(input(r6, k, &s6), b, c6);
        c7 = product(input(r7, k, &s7), b, c7);
      }
    }
  }
  // A loop with a bound unknown to the compiler: unrolled, it would repeat all of this 8 times and compile for minutes.
  for (var i = 0u; i < p.R; i++) {
    var sum = c0;
    var square = s0;
    switch i {
      case 1u: { sum = c1; square = s1; }
      case 2u: { sum = c2; square = s2; }
      case 3u: { sum = c3; square = s3; }
      case 4u: { sum = c4; square = s4; }
      case 5u: { sum = c5; square = s5; }
      case 6u: { sum = c6; square = s6; }
      case 7u: { sum = c7; square = s7; }
      default: {}
    }
    partial[thread] = sum;
    squares[thread] = square;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
      if (thread < step * QUADS) {
        partial[thread] += partial[thread + step * QUADS];
        squares[thread] += squares[thread + step * QUADS];
      }
      workgroupBarrier();
    }
    let offset = 4u * left + thread; // one thread per column
    if (thread < 4u * QUADS && offset < p.count) {
      let n = p.first + offset;
      var value = partial[thread / 4u][thread % 4u];
      // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
      if ((p.flags & 32u) != 0u) { value *= 1.0 / sqrt(squares[0] / p.K + p.eps); }
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value);
      if ((p.flags & 8u) != 0u) { value *= rowGate[p.start + i]; }
      var row = p.rowOffset + i;
      if ((p.flags & 4u) != 0u) { row = outRows[p.start + i]; }
      if ((p.flags & 16u) != 0u) { value += y[row * p.N + n]; }
      y[row * p.N + n] = value;
    }
    workgroupBarrier();
  }
}
