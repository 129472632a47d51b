// A product by tiles: BM rows by NX vec4 of columns (of each part) a workgroup, TM rows by a vec4 an invocation. Comes behind the kernel that
// says what becomes of it, by finish(i, n, first, second): row i of the product, column n, its sums of both parts.
#include "product.rows.wgsl"
override TM: u32 = 4; // rows per invocation, 4 or 8
override NX: u32 = 16; // invocations across, a vec4 of columns each
override NY: u32 = 16; // invocations down
override THREADS: u32 = NX * NY;
override BM: u32 = NY * TM;
override WIDTH: u32 = NX * PARTS; // vec4 per row of b_tile
const BK = 16u; // depth of a step, to which weights are padded (pack.ts)
const BK4 = BK / 4u;
const PITCH = BK4 + 1u; // vec4 per row of a_tile; odd, so that rows lie in different banks

var<workgroup> a_tile: array<vec4<f32>, BM * PITCH>; // [BM][BK4 (+1)]
var<workgroup> b_tile: array<vec4<f32>, BK * WIDTH>; // [BK][PARTS][NX]
var<workgroup> from_row: array<Row, BM>;
var<workgroup> squares: array<f32, BM * BK4>; // [BM][BK4], each element written by one invocation only

// Four depths of a vec4 of columns, a depth in each column of the matrix; the first is in b_tile[at].
fn four_depths(at: u32) -> mat4x4<f32> {
  return mat4x4(b_tile[at], b_tile[at + WIDTH], b_tile[at + 2u * WIDTH], b_tile[at + 3u * WIDTH]);
}

// The sums of four rows, a row in each column, and the products of these depths with theirs; those of the first row are in a_tile[at].
fn add_rows(at: u32, b: mat4x4<f32>, sums: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4(
    add_products(a_tile[at], b, sums[0]),
    add_products(a_tile[at + PITCH], b, sums[1]),
    add_products(a_tile[at + 2u * PITCH], b, sums[2]),
    add_products(a_tile[at + 3u * PITCH], b, sums[3]),
  );
}

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  for (var m = thread; m < BM; m += THREADS) { from_row[m] = row_of(top + m); }
  // Sums of rows 0 to 3, and with TM of 8 of rows 4 to 7.
  var gate = mat4x4<f32>();
  var gate_below = mat4x4<f32>();
  var up = mat4x4<f32>();
  var up_below = mat4x4<f32>();
  let quads = row_quads();
  let left = group.x * NX;
  let a0 = local.y * TM * PITCH;
  for (var start = 0u; start < p.K; start += BK) {
    workgroupBarrier();
    for (var i = thread; i < BM * BK4; i += THREADS) {
      let m = i / BK4;
      let k = start / 4u + i % BK4;
      var value = vec4<f32>();
      if (k < quads) {
        value = x[from_row[m].start + k];
        if (p.rms != 0u) { squares[i] += dot(value, value); }
        value = normed(value, from_row[m], affine(k));
      }
      a_tile[m * PITCH + i % BK4] = value;
    }
    for (var i = thread; i < BK * WIDTH; i += THREADS) {
      let c = i % WIDTH;
      let column = left * PARTS + c;
      var value = vec4<f32>();
      if (column < slice_quads()) { value = weight4(start + i / WIDTH, column); }
      b_tile[i - c + c % PARTS * NX + c / PARTS] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < BK4; k++) {
      let above = a0 + k;
      let below = above + 4u * PITCH;
      let at = 4u * k * WIDTH + local.x;
      var b = four_depths(at);
      gate = add_rows(above, b, gate);
      if (TM == 8u) { gate_below = add_rows(below, b, gate_below); }
      if (PARTS == 2u) {
        b = four_depths(at + NX);
        up = add_rows(above, b, up);
        if (TM == 8u) { up_below = add_rows(below, b, up_below); }
      }
    }
  }
  let quad = left + local.x;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  if (columns == 0u) { return; }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `finish` 4 TM times and compile for seconds.
  for (var r = 0u; r < TM && top + local.y * TM + r < p.R; r++) {
    var first = row_of_four(gate, r % 4u);
    var second = row_of_four(up, r % 4u);
    if (TM == 8u && r >= 4u) {
      first = row_of_four(gate_below, r % 4u);
      second = row_of_four(up_below, r % 4u);
    }
    let m = local.y * TM + r;
    if (p.rms != 0u) {
      let at = m * BK4;
      let scale = rms_scale(squares[at] + squares[at + 1u] + squares[at + 2u] + squares[at + 3u], from_row[m]);
      first *= scale;
      second *= scale;
    }
    for (var c = 0u; c < columns; c++) { finish(top + m, p.first + 4u * quad + c, first[c], second[c]); }
  }
}
