// A linear layer of rows that are int8 already (linear.quantize.wgsl), by tiles.
#include "linear.wgsl"
#include "int8.tile.wgsl"

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var c = mat4x4<f32>();
  for (var block = 0u; block < row_blocks(); block++) {
    load_block(block, top, left, local.y * NX + local.x);
    c += products(row, local.x);
  }
  let quad = left + local.x;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `finish` 16 times and compile for seconds.
  for (var m = 0u; m < TM && top + row + m < p.R; m++) {
    let sum = row_of_four(c, m);
    for (var e = 0u; e < columns; e++) { finish(top + row + m, p.first + 4u * quad + e, sum[e], 0.0); }
  }
}
