// product.tiles.wgsl for 1 to 8 rows: bound by reading the weight, which all rows share. A workgroup owns QUADS vec4 of columns (of each part);
// its invocations split the inputs and meet in workgroup memory.
#include "product.rows.wgsl"
override ROWS: u32 = 8; // 1, 4 or 8: accumulators in use
override QUADS: u32 = 16; // a power of two
override THREADS: u32 = 256; // a power of two, at least 4 * QUADS
override LANES: u32 = THREADS / QUADS; // invocations that share the inputs of one vec4 of columns

var<workgroup> partial: array<vec4<f32>, THREADS>; // [LANES][QUADS]
var<workgroup> squares: array<f32, THREADS>; // likewise, of the row

// vec4 k of a row.
fn input(row: Row, k: u32, norm: Affine, square: ptr<function, f32>) -> vec4<f32> {
  let value = x[row.start + k];
  if (p.rms != 0u) { *square += dot(value, value); }
  return normed(value, row, norm);
}

// Adds up the lanes: the sum of column c is in partial[c / 4][c % 4] afterwards, that of the row's squares in squares[0].
// Every invocation calls it.
fn add_lanes(sum: vec4<f32>, square: f32, thread: u32) {
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
  let r0 = row_of(0u);
  let r1 = row_of(1u);
  let r2 = row_of(2u);
  let r3 = row_of(3u);
  let r4 = row_of(4u);
  let r5 = row_of(5u);
  let r6 = row_of(6u);
  let r7 = row_of(7u);
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
  if (column < slice_quads()) {
    for (var k = thread / QUADS; k < row_quads(); k += LANES) {
      let norm = affine(k);
      let gate = weight4x4(k, column);
      var up = gate;
      if (PARTS == 2u) { up = weight4x4(k, column + 1u); }
      var v = input(r0, k, norm, &s0);
      g0 = add_products(v, gate, g0);
      if (PARTS == 2u) { u0 = add_products(v, up, u0); }
      if (ROWS > 1u) {
        v = input(r1, k, norm, &s1);
        g1 = add_products(v, gate, g1);
        if (PARTS == 2u) { u1 = add_products(v, up, u1); }
        v = input(r2, k, norm, &s2);
        g2 = add_products(v, gate, g2);
        if (PARTS == 2u) { u2 = add_products(v, up, u2); }
        v = input(r3, k, norm, &s3);
        g3 = add_products(v, gate, g3);
        if (PARTS == 2u) { u3 = add_products(v, up, u3); }
      }
      if (ROWS > 4u) {
        v = input(r4, k, norm, &s4);
        g4 = add_products(v, gate, g4);
        if (PARTS == 2u) { u4 = add_products(v, up, u4); }
        v = input(r5, k, norm, &s5);
        g5 = add_products(v, gate, g5);
        if (PARTS == 2u) { u5 = add_products(v, up, u5); }
        v = input(r6, k, norm, &s6);
        g6 = add_products(v, gate, g6);
        if (PARTS == 2u) { u6 = add_products(v, up, u6); }
        v = input(r7, k, norm, &s7);
        g7 = add_products(v, gate, g7);
        if (PARTS == 2u) { u7 = add_products(v, up, u7); }
      }
    }
  }
  let c = thread % (4u * QUADS); // one invocation per column
  let stores = thread == c && 4u * left + c < p.count;
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
    add_lanes(first, square, thread);
    var value = partial[c / 4u][c % 4u];
    var up = 0.0;
    if (PARTS == 2u) {
      add_lanes(second, square, thread);
      up = partial[c / 4u][c % 4u];
    }
    if (stores && p.rms != 0u) {
      let scale = rms_scale(squares[0], row_of(i));
      value *= scale;
      up *= scale;
    }
    if (stores) { finish(i, p.first + 4u * left + c, value, up); }
  }
}
