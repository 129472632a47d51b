// product.tiles.wgsl for 1 to 8 rows: bound by reading the weight, which all rows share. A workgroup owns QUADS vec4 of columns (of each part);
// its invocations split the inputs and meet in workgroup memory.
#include "product.rows.wgsl"
override ROWS: u32 = 8; // 1, 4 or 8: accumulators in use
override QUADS: u32 = 16; // a power of two
override THREADS: u32 = 256; // a power of two, at least 4 * QUADS
override LANES: u32 = THREADS / QUADS; // invocations that share the inputs of one vec4 of columns

var<workgroup> partial: array<vec4<f32>, THREADS>; // [LANES][QUADS]
var<workgroup> squares: array<f32, THREADS>; // likewise, of the row

// A row of the product with its sums: of a vec4 of columns of both parts, and of the squares of its inputs.
struct RowSums {
  row: Row,
  gate: vec4<f32>,
  up: vec4<f32>,
  square: f32,
}

fn no_sums(i: u32) -> RowSums { return RowSums(row_of(i), vec4<f32>(), vec4<f32>(), 0.0); }

// Adds the products of vec4 k of the row.
fn add_input(sums: ptr<function, RowSums>, k: u32, norm: Affine, gate: mat4x4<f32>, up: mat4x4<f32>) {
  var value = x[(*sums).row.start + k];
  if (p.rms != 0u) { (*sums).square += dot(value, value); }
  value = normed(value, (*sums).row, norm);
  (*sums).gate = add_products(value, gate, (*sums).gate);
  if (PARTS == 2u) { (*sums).up = add_products(value, up, (*sums).up); }
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
  var s0 = no_sums(0u);
  var s1 = no_sums(1u);
  var s2 = no_sums(2u);
  var s3 = no_sums(3u);
  var s4 = no_sums(4u);
  var s5 = no_sums(5u);
  var s6 = no_sums(6u);
  var s7 = no_sums(7u);
  if (column < slice_quads()) {
    for (var k = thread / QUADS; k < row_quads(); k += LANES) {
      let norm = affine(k);
      let gate = weight4x4(k, column);
      var up = gate;
      if (PARTS == 2u) { up = weight4x4(k, column + 1u); }
      add_input(&s0, k, norm, gate, up);
      if (ROWS > 1u) {
        add_input(&s1, k, norm, gate, up);
        add_input(&s2, k, norm, gate, up);
        add_input(&s3, k, norm, gate, up);
      }
      if (ROWS > 4u) {
        add_input(&s4, k, norm, gate, up);
        add_input(&s5, k, norm, gate, up);
        add_input(&s6, k, norm, gate, up);
        add_input(&s7, k, norm, gate, up);
      }
    }
  }
  let c = thread % (4u * QUADS); // one invocation per column
  let stores = thread == c && 4u * left + c < p.count;
  // A loop with a bound unknown to the compiler: unrolled, it would repeat all of this 8 times and compile for minutes.
  for (var i = 0u; i < p.R; i++) {
    var sums = s0;
    switch i {
      case 1u: { sums = s1; }
      case 2u: { sums = s2; }
      case 3u: { sums = s3; }
      case 4u: { sums = s4; }
      case 5u: { sums = s5; }
      case 6u: { sums = s6; }
      case 7u: { sums = s7; }
      default: {}
    }
    add_lanes(sums.gate, sums.square, thread);
    var value = partial[c / 4u][c % 4u];
    var up = 0.0;
    if (PARTS == 2u) {
      add_lanes(sums.up, sums.square, thread);
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
