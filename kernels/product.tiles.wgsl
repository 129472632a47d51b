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

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  for (var m = thread; m < BM; m += THREADS) { from_row[m] = row_of(top + m); }
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
      let at = 4u * k * WIDTH + local.x;
      var b = mat4x4(b_tile[at], b_tile[at + WIDTH], b_tile[at + 2u * WIDTH], b_tile[at + 3u * WIDTH]);
      g0 = add_products(a_tile[a0 + k], b, g0);
      g1 = add_products(a_tile[a0 + PITCH + k], b, g1);
      g2 = add_products(a_tile[a0 + 2u * PITCH + k], b, g2);
      g3 = add_products(a_tile[a0 + 3u * PITCH + k], b, g3);
      if (TM == 8u) {
        g4 = add_products(a_tile[a0 + 4u * PITCH + k], b, g4);
        g5 = add_products(a_tile[a0 + 5u * PITCH + k], b, g5);
        g6 = add_products(a_tile[a0 + 6u * PITCH + k], b, g6);
        g7 = add_products(a_tile[a0 + 7u * PITCH + k], b, g7);
      }
      if (PARTS == 2u) {
        b = mat4x4(b_tile[at + NX], b_tile[at + WIDTH + NX], b_tile[at + 2u * WIDTH + NX], b_tile[at + 3u * WIDTH + NX]);
        u0 = add_products(a_tile[a0 + k], b, u0);
        u1 = add_products(a_tile[a0 + PITCH + k], b, u1);
        u2 = add_products(a_tile[a0 + 2u * PITCH + k], b, u2);
        u3 = add_products(a_tile[a0 + 3u * PITCH + k], b, u3);
        if (TM == 8u) {
          u4 = add_products(a_tile[a0 + 4u * PITCH + k], b, u4);
          u5 = add_products(a_tile[a0 + 5u * PITCH + k], b, u5);
          u6 = add_products(a_tile[a0 + 6u * PITCH + k], b, u6);
          u7 = add_products(a_tile[a0 + 7u * PITCH + k], b, u7);
        }
      }
    }
  }
  let quad = left + local.x;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  if (columns == 0u) { return; }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `finish` 4 TM times and compile for seconds.
  for (var r = 0u; r < TM && top + local.y * TM + r < p.R; r++) {
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
