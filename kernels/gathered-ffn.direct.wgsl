// The same as gathered-ffn.wgsl, to the bit, for software adapters, as linear.direct.wgsl is to linear.wgsl: an invocation owns
// gate and up of 4 rows and a vec4 of channels. Needs activation.wgsl and weight.*.wgsl in front.
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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [start + R], or with stats [start + R][row, mean, scale, -]
@group(0) @binding(3) var<storage, read> normWeight: array<vec4<f32>>; // [quads]
@group(0) @binding(4) var<storage, read> normBias: array<vec4<f32>>; // [quads]
@group(0) @binding(5) var<storage, read> weight: array<Packed>; // [K][pitch / PARTS][PARTS], padding is zero
@group(0) @binding(6) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(7) var<storage, read> upBias: array<f32>; // [M]
@group(0) @binding(8) var<storage, read_write> h: array<f32>; // [R][4 * hQuads]

const TM = 4u; // rows: as many as there are accumulators below
const THREADS = 16u; // vec4 of channels
override PARTS: u32 = 2; // 2 gate and up, 1 up alone

struct Row {
  start: u32, // vec4 where the row begins
  mean: f32,
  scale: f32,
}

// Rows past the end repeat the last one and are not stored.
fn row_at(index: u32) -> Row {
  let i = p.start + min(index, p.R - 1u);
  if ((p.flags & 2u) != 0u) {
    return Row(rows[4u * i] * p.quads, bitcast<f32>(rows[4u * i + 1u]), bitcast<f32>(rows[4u * i + 2u]));
  }
  if ((p.flags & 1u) != 0u) { return Row(rows[i] * p.quads, 0.0, 1.0); }
  return Row(i * p.quads, 0.0, 1.0);
}

// norm(x[row]) at vec4 k, an rms norm without its scale, which the sums get at the end; weight and bias of the norm are read once for
// all rows. `square` has a part for every fourth k, as in gathered-ffn.wgsl.
fn input(row: Row, k: u32, scale: vec4<f32>, shift: vec4<f32>, square: ptr<function, vec4<f32>>) -> vec4<f32> {
  let value = x[row.start + k];
  if ((p.flags & 32u) != 0u) { (*square)[k % 4u] += dot(value, value); }
  return (value - row.mean) * row.scale * scale + shift;
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

fn product(v: vec4<f32>, w: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(v.w), w[3], fma(vec4(v.z), w[2], fma(vec4(v.y), w[1], fma(vec4(v.x), w[0], sum))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i0 = group.y * TM;
  let quad = group.x * THREADS + thread;
  let column = quad * PARTS;
  if (column >= p.pitch) { return; }
  let r0 = row_at(i0);
  let r1 = row_at(i0 + 1u);
  let r2 = row_at(i0 + 2u);
  let r3 = row_at(i0 + 3u);
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var g2 = vec4<f32>();
  var g3 = vec4<f32>();
  var u0 = vec4<f32>();
  var u1 = vec4<f32>();
  var u2 = vec4<f32>();
  var u3 = vec4<f32>();
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    var scale = vec4(1.0);
    var shift = vec4<f32>();
    if ((p.flags & 34u) != 0u) { scale = normWeight[k]; }
    if ((p.flags & 16u) != 0u) { shift = normBias[k]; }
    let a = input(r0, k, scale, shift, &s0);
    let b = input(r1, k, scale, shift, &s1);
    let c = input(r2, k, scale, shift, &s2);
    let d = input(r3, k, scale, shift, &s3);
    var w = weight4x4(k, column);
    g0 = product(a, w, g0);
    g1 = product(b, w, g1);
    g2 = product(c, w, g2);
    g3 = product(d, w, g3);
    if (PARTS == 2u) {
      w = weight4x4(k, column + 1u);
      u0 = product(a, w, u0);
      u1 = product(b, w, u1);
      u2 = product(c, w, u2);
      u3 = product(d, w, u3);
    }
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 16 times and compile for seconds.
  let columns = select(0u, 4u, p.first / 4u + quad < p.hQuads);
  for (var r = 0u; r < TM && i0 + r < p.R; r++) {
    var first = g0;
    var second = u0;
    var square = s0;
    switch r {
      case 1u: { first = g1; second = u1; square = s1; }
      case 2u: { first = g2; second = u2; square = s2; }
      case 3u: { first = g3; second = u3; square = s3; }
      default: {}
    }
    if ((p.flags & 32u) != 0u) {
      // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
      let scale = 1.0 / sqrt((square.x + square.y + square.z + square.w) / p.D + p.eps);
      first *= scale;
      second *= scale;
    }
    for (var c = 0u; c < columns; c++) {
      let m = p.first + 4u * quad + c;
      h[(i0 + r) * p.hQuads * 4u + m] = inner(m, first[c], second[c]);
    }
  }
}
