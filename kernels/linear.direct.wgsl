// The same as linear.wgsl, to the bit, for software adapters: to them barriers and workgroup memory are dear, and so is compiling both.
// An invocation owns 4 rows and a vec4 of columns; its workgroup reads the same x, which such an adapter then loads once.
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

const TM = 4u; // rows: as many as there are accumulators below
const THREADS = 16u; // vec4 of columns

// Where the row of result i begins in x; past the end that of the last one, which is not stored.
fn row_start(i: u32) -> u32 {
  var row = min(i, p.R - 1u);
  if ((p.flags & 1u) != 0u) { row = rows[p.start + row]; }
  return row * p.quads;
}

// x at vec4 k of a row; with an rms norm without its scale, which the sums get at the end. `square` has a part for every fourth k, as
// in linear.wgsl.
fn input(row: u32, k: u32, square: ptr<function, vec4<f32>>) -> vec4<f32> {
  var value = x[row + k];
  if ((p.flags & 32u) != 0u) {
    (*square)[k % 4u] += dot(value, value);
    value *= normWeight[k];
  }
  return value;
}

fn product(a: vec4<f32>, b: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i0 = group.y * TM;
  let quad = group.x * THREADS + thread;
  if (quad >= p.pitch) { return; }
  let r0 = row_start(i0);
  let r1 = row_start(i0 + 1u);
  let r2 = row_start(i0 + 2u);
  let r3 = row_start(i0 + 3u);
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    let b = weight4x4(k, quad);
    c0 = product(input(r0, k, &s0), b, c0);
    c1 = product(input(r1, k, &s1), b, c1);
    c2 = product(input(r2, k, &s2), b, c2);
    c3 = product(input(r3, k, &s3), b, c3);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 16 times and compile for seconds.
  let columns = min(4u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var sum = c0;
    var square = s0;
    switch m {
      case 1u: { sum = c1; square = s1; }
      case 2u: { sum = c2; square = s2; }
      case 3u: { sum = c3; square = s3; }
      default: {}
    }
    // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
    if ((p.flags & 32u) != 0u) { sum *= 1.0 / sqrt((square.x + square.y + square.z + square.w) / p.K + p.eps); }
    var row = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { row = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var c = 0u; c < columns; c++) {
      let n = p.first + 4u * quad + c;
      var value = sum[c];
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[row * p.N + n]; }
      y[row * p.N + n] = value;
    }
  }
}
