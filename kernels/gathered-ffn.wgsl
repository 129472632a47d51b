// The inner layer of a gathered FFN: h[i] = act(norm(x[row(i)]) Wg^T + bg) * (norm(x[row(i)]) Wu^T + bu), or without a gate
// act(norm(x[row(i)]) Wu^T + bu). A tile of BM x BN results per workgroup; a thread owns gate and up of its channels.
// Needs activation.wgsl, gathered-ffn.inner.wgsl and weight.*.wgsl in front. The outer layer is linear.wgsl.
struct Params {
  R: u32, // rows of h, at least 1
  quads: u32, // vec4 per row of x
  steps: u32, // BK-deep steps over the inputs
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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R], or with stats [start + R][row, mean, scale, -]
@group(0) @binding(3) var<storage, read> normWeight: array<vec4<f32>>; // [quads]
@group(0) @binding(4) var<storage, read> normBias: array<vec4<f32>>; // [quads]
@group(0) @binding(5) var<storage, read> weight: array<Packed>; // [K][pitch / PARTS][PARTS], padding is zero
@group(0) @binding(6) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(7) var<storage, read> upBias: array<f32>; // [M]
@group(0) @binding(8) var<storage, read_write> h: array<f32>; // [R][4 * hQuads]

override TM: u32 = 4; // rows per thread, 4 or 8
const BK = 16u; // the depth to which weights are padded (pack.ts)
const BK4 = BK / 4u;
const PITCH = BK4 + 1u; // vec4 per row of a_tile; odd, so that rows lie in different banks
override PARTS: u32 = 2; // 2 gate and up, 1 up alone
override NX: u32 = 16; // threads across, a vec4 of columns each
override NY: u32 = 16; // threads down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;
override WIDTH: u32 = NX * PARTS; // vec4 per row of b_tile

var<workgroup> a_tile: array<vec4<f32>, BM * PITCH>; // [BM][BK4 (+1)]
var<workgroup> b_tile: array<vec4<f32>, BK * WIDTH>; // [BK][PARTS][NX]
var<workgroup> from_row: array<u32, BM>;
var<workgroup> row_stats: array<vec2<f32>, BM>; // mean, scale
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
    let i = p.start + min(top + m, p.R - 1u);
    var row = i;
    var stats = vec2(0.0, 1.0);
    if ((p.flags & 2u) != 0u) {
      row = rows[4u * i];
      stats = vec2(bitcast<f32>(rows[4u * i + 1u]), bitcast<f32>(rows[4u * i + 2u]));
    } else if ((p.flags & 1u) != 0u) {
      row = rows[i];
    }
    from_row[m] = row;
    row_stats[m] = stats;
  }
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var g2 = vec4<f32>();
  var g3 = vec4<f32>();
  var g4 = vec4<f32>();
  var g5 = vec4<f32>();
  var g6 = vec4<f32>();
  var g7 = vec4<f32>();
  var u0 = vec4<f32>();
  var u1 = vec4<f32>();
  var u2 = vec4<f32>();
  var u3 = vec4<f32>();
  var u4 = vec4<f32>();
  var u5 = vec4<f32>();
  var u6 = vec4<f32>();
  var u7 = vec4<f32>();
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
        if ((p.flags & 2u) != 0u) {
          value = (value - row_stats[m].x) * row_stats[m].y * normWeight[k];
          if ((p.flags & 16u) != 0u) { value += normBias[k]; }
        }
        // The scale of an rms norm is the same for a whole row: its sums get it at the end.
        if ((p.flags & 32u) != 0u) {
          squares[i] += dot(value, value);
          value *= normWeight[k];
        }
      }
      a_tile[m * PITCH + i % BK4] = value;
    }
    for (var i = thread; i < BK * WIDTH; i += THREADS) {
      let k = i / WIDTH;
      let c = i % WIDTH;
      let column = left * PARTS + c;
      var value = vec4<f32>();
      if (column < p.pitch) { value = weight4(step * BK + k, column); }
      b_tile[k * WIDTH + c % PARTS * NX + c / PARTS] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < BK4; k++) {
      let at = 4u * k * WIDTH + local.x;
      var b0 = b_tile[at];
      var b1 = b_tile[at + WIDTH];
      var b2 = b_tile[at + 2u * WIDTH];
      var b3 = b_tile[at + 3u * WIDTH];
      g0 = depths(a_tile[a0 + k], b0, b1, b2, b3, g0);
      g1 = depths(a_tile[a0 + PITCH + k], b0, b1, b2, b3, g1);
      g2 = depths(a_tile[a0 + 2u * PITCH + k], b0, b1, b2, b3, g2);
      g3 = depths(a_tile[a0 + 3u * PITCH + k], b0, b1, b2, b3, g3);
      if (TM == 8u) {
        g4 = depths(a_tile[a0 + 4u * PITCH + k], b0, b1, b2, b3, g4);
        g5 = depths(a_tile[a0 + 5u * PITCH + k], b0, b1, b2, b3, g5);
        g6 = depths(a_tile[a0 + 6u * PITCH + k], b0, b1, b2, b3, g6);
        g7 = depths(a_tile[a0 + 7u * PITCH + k], b0, b1, b2, b3, g7);
      }
      if (PARTS == 2u) {
        b0 = b_tile[at + NX];
        b1 = b_tile[at + WIDTH + NX];
        b2 = b_tile[at + 2u * WIDTH + NX];
        b3 = b_tile[at + 3u * WIDTH + NX];
        u0 = depths(a_tile[a0 + k], b0, b1, b2, b3, u0);
        u1 = depths(a_tile[a0 + PITCH + k], b0, b1, b2, b3, u1);
        u2 = depths(a_tile[a0 + 2u * PITCH + k], b0, b1, b2, b3, u2);
        u3 = depths(a_tile[a0 + 3u * PITCH + k], b0, b1, b2, b3, u3);
        if (TM == 8u) {
          u4 = depths(a_tile[a0 + 4u * PITCH + k], b0, b1, b2, b3, u4);
          u5 = depths(a_tile[a0 + 5u * PITCH + k], b0, b1, b2, b3, u5);
          u6 = depths(a_tile[a0 + 6u * PITCH + k], b0, b1, b2, b3, u6);
          u7 = depths(a_tile[a0 + 7u * PITCH + k], b0, b1, b2, b3, u7);
        }
      }
    }
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 4 TM times and compile for seconds.
  let quad = left + local.x;
  let i0 = top + local.y * TM;
  let columns = select(0u, 4u, quad * PARTS < p.pitch && p.first / 4u + quad < p.hQuads);
  for (var r = 0u; r < TM && i0 + r < p.R; r++) {
    var first = g0;
    var second = u0;
    switch r {
      case 1u: { first = g1; second = u1; }
      case 2u: { first = g2; second = u2; }
      case 3u: { first = g3; second = u3; }
      case 4u: { first = g4; second = u4; }
      case 5u: { first = g5; second = u5; }
      case 6u: { first = g6; second = u6; }
      case 7u: { first = g7; second = u7; }
      default: {}
    }
    if ((p.flags & 32u) != 0u) {
      let at = (local.y * TM + r) * BK4;
      // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
      let scale = 1.0 / sqrt((squares[at] + squares[at + 1u] + squares[at + 2u] + squares[at + 3u]) / p.D + p.eps);
      first *= scale;
      second *= scale;
    }
    for (var c = 0u; c < columns; c++) {
      let m = p.first + 4u * quad + c;
      h[(i0 + r) * p.hQuads * 4u + m] = inner(m, first[c], second[c]);
    }
  }
}
