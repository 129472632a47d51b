// y[out(i)] = act(x[row(i)] W^T + bias) * rowGate[i], or += : a tile of BM x BN results per workgroup, TM x 4 per thread.
// Needs activation.wgsl and weight.*.wgsl in front.
struct Params {
  R: u32, // result rows, at least 1
  quads: u32, // vec4 per row of x
  steps: u32, // BK-deep steps over the inputs
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

override TM: u32 = 4; // result rows per thread, 4 or 8
const BK = 16u; // the depth to which weights are padded (pack.ts)
const BK4 = BK / 4u;
const PITCH = BK4 + 1u; // vec4 per row of a_tile; odd, so that rows lie in different banks
override NX: u32 = 16; // threads across, a vec4 of columns each
override NY: u32 = 16; // threads down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;

var<workgroup> a_tile: array<vec4<f32>, BM * PITCH>; // [BM][BK4 (+1)]
var<workgroup> b_tile: array<vec4<f32>, BK * NX>; // [BK][NX]
var<workgroup> from_row: array<u32, BM>;
var<workgroup> squares: array<f32, BM * BK4>; // [BM][BK4], each element written by one thread only

// c and the products of four inputs of a row with their depths of four columns, in the order of the depths.
fn depths(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
  return fma(vec4(a.w), b3, fma(vec4(a.z), b2, fma(vec4(a.y), b1, fma(vec4(a.x), b0, c))));
}

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  for (var m = thread; m < BM; m += THREADS) {
    let i = min(top + m, p.R - 1u);
    var row = i;
    if ((p.flags & 1u) != 0u) { row = rows[p.start + i]; }
    from_row[m] = row;
  }
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  let left = group.x * NX;
  let a0 = local.y * TM * PITCH;
  for (var step = 0u; step < p.steps; step++) {
    workgroupBarrier();
    for (var i = thread; i < BM * BK4; i += THREADS) {
      let m = i / BK4;
      let k = step * BK4 + i % BK4;
      var value = vec4<f32>();
      if (k < p.quads) {
        value = x[from_row[m] * p.quads + k];
        // The scale of the norm is the same for a whole row: its sums get it at the end.
        if ((p.flags & 32u) != 0u) {
          squares[i] += dot(value, value);
          value *= normWeight[k];
        }
      }
      a_tile[m * PITCH + i % BK4] = value;
    }
    for (var i = thread; i < BK * NX; i += THREADS) {
      let column = left + i % NX;
      var value = vec4<f32>();
      if (column < p.pitch) { value = weight4(step * BK + i / NX, column); }
      b_tile[i] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < BK4; k++) {
      let at = 4u * k * NX + local.x;
      let b0 = b_tile[at];
      let b1 = b_tile[at + NX];
      let b2 = b_tile[at + 2u * NX];
      let b3 = b_tile[at + 3u * NX];
      c0 = depths(a_tile[a0 + k], b0, b1, b2, b3, c0);
      c1 = depths(a_tile[a0 + PITCH + k], b0, b1, b2, b3, c1);
      c2 = depths(a_tile[a0 + 2u * PITCH + k], b0, b1, b2, b3, c2);
      c3 = depths(a_tile[a0 + 3u * PITCH + k], b0, b1, b2, b3, c3);
      if (TM == 8u) {
        c4 = depths(a_tile[a0 + 4u * PITCH + k], b0, b1, b2, b3, c4);
        c5 = depths(a_tile[a0 + 5u * PITCH + k], b0, b1, b2, b3, c5);
        c6 = depths(a_tile[a0 + 6u * PITCH + k], b0, b1, b2, b3, c6);
        c7 = depths(a_tile[a0 + 7u * PITCH + k], b0, b1, b2, b3, c7);
      }
    }
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 4 TM times and compile for seconds.
  let quad = left + local.x;
  let i0 = top + local.y * TM;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var sum = c0;
    switch m {
      case 1u: { sum = c1; }
      case 2u: { sum = c2; }
      case 3u: { sum = c3; }
      case 4u: { sum = c4; }
      case 5u: { sum = c5; }
      case 6u: { sum = c6; }
      case 7u: { sum = c7; }
      default: {}
    }
    if ((p.flags & 32u) != 0u) {
      let at = (local.y * TM + m) * BK4;
      // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
      sum *= 1.0 / sqrt((squares[at] + squares[at + 1u] + squares[at + 2u] + squares[at + 3u]) / p.K + p.eps);
    }
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
