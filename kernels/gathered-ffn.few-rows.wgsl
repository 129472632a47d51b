// The same as gathered-ffn.wgsl for 1 to 8 rows: bound by reading the weights, which all rows share. A workgroup owns
// QUADS vec4 of channels; its threads split the inputs and meet in workgroup memory. Needs activation.wgsl, gathered-ffn.inner.wgsl
// and weight.*.wgsl in front.
struct Params {
  R: u32, // rows of h, 1 to ROWS
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

override PARTS: u32 = 2; // 2 gate and up, 1 up alone
override ROWS: u32 = 8; // 1, 4 or 8: accumulators in use
override QUADS: u32 = 16; // a power of two
override THREADS: u32 = 256; // a power of two, at least 4 * QUADS
override LANES: u32 = THREADS / QUADS; // threads that share the inputs of one vec4 of channels

var<workgroup> partial: array<vec4<f32>, THREADS>; // [LANES][QUADS]
var<workgroup> squares: array<f32, THREADS>; // likewise, of the row

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

// norm(x[row]) at vec4 k; an rms norm without its scale, which the sums get at the end.
fn input(row: Row, k: u32, square: ptr<function, f32>) -> vec4<f32> {
  var value = x[row.start + k];
  if ((p.flags & 2u) != 0u) {
    value = (value - row.mean) * row.scale * normWeight[k];
    if ((p.flags & 16u) != 0u) { value += normBias[k]; }
  }
  if ((p.flags & 32u) != 0u) {
    *square += dot(value, value);
    value *= normWeight[k];
  }
  return value;
}

fn product(v: vec4<f32>, w: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  return fma(vec4(v.w), w[3], fma(vec4(v.z), w[2], fma(vec4(v.y), w[1], fma(vec4(v.x), w[0], sum))));
}

// Adds up the lanes: the sum of column c is in partial[c / 4][c % 4] afterwards, that of the row's squares in squares[0].
// Every thread calls it.
fn reduce(sum: vec4<f32>, square: f32, thread: u32) {
  workgroupBarrier();
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
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let left = group.x * QUADS;
  let column = (left + thread % QUADS) * PARTS;
  let r0 = row_at(0u);
  let r1 = row_at(1u);
  let r2 = row_at(2u);
  let r3 = row_at(3u);
  let r4 = row_at(4u);
  let r5 = row_at(5u);
  let r6 = row_at(6u);
  let r7 = row_at(7u);
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
      let gate = weight4x4(k, column);
      var up = gate;
      if (PARTS == 2u) { up = weight4x4(k, column + 1u); }
      var v = input(r0, k, &s0);
      g0 = product(v, gate, g0);
      if (PARTS == 2u) { u0 = product(v, up, u0); }
      if (ROWS > 1u) {
        v = input(r1, k, &s1);
        g1 = product(v, gate, g1);
        if (PARTS == 2u) { u1 = product(v, up, u1); }
      }
      if (ROWS > 2u) {
        v = input(r2, k, &s2);
        g2 = product(v, gate, g2);
        if (PARTS == 2u) { u2 = product(v, up, u2); }
        v = input(r3, k, &s3);
        g3 = product(v, gate, g3);
        if (PARTS == 2u) { u3 = product(v, up, u3); }
      }
      if (ROWS > 4u) {
        v = input(r4, k, &s4);
        g4 = product(v, gate, g4);
        if (PARTS == 2u) { u4 = product(v, up, u4); }
        v = input(r5, k, &s5);
        g5 = product(v, gate, g5);
        if (PARTS == 2u) { u5 = product(v, up, u5); }
        v = input(r6, k, &s6);
        g6 = product(v, gate, g6);
        if (PARTS == 2u) { u6 = product(v, up, u6); }
        v = input(r7, k, &s7);
        g7 = product(v, gate, g7);
        if (PARTS == 2u) { u7 = product(v, up, u7); }
      }
    }
  }
  // A loop with a bound unknown to the compiler: unrolled, it would repeat all of this 8 times and compile for minutes.
  for (var i = 0u; i < p.R; i++) {
    var first = g0;
    var second = u0;
    var square = s0;
    switch i {
      case 1u: { first = g1; second = u1; square = s1; }
      case 2u: { first = g2; second = u2; square = s2; }
      case 3u: { first = g3; second = u3; square = s3; }
      case 4u: { first = g4; second = u4; square = s4; }
      case 5u: { first = g5; second = u5; square = s5; }
      case 6u: { first = g6; second = u6; square = s6; }
      case 7u: { first = g7; second = u7; square = s7; }
      default: {}
    }
    reduce(first, square, thread);
    let c = thread % (4u * QUADS); // one thread per column
    var value = partial[c / 4u][c % 4u];
    var scale = 1.0;
    // Not inverseSqrt, whose error bound is looser than that of sqrt and division.
    if ((p.flags & 32u) != 0u) { scale = 1.0 / sqrt(squares[0] / p.D + p.eps); }
    value *= scale;
    var up = 0.0;
    if (PARTS == 2u) {
      reduce(second, square, thread);
      up = partial[c / 4u][c % 4u] * scale;
    }
    let m = p.first + 4u * left + c;
    let inside = m < 4u * p.hQuads && (left + c / 4u) * PARTS < p.pitch;
    if (thread == c && inside) { h[i * p.hQuads * 4u + m] = inner(m, value, up); }
  }
}
