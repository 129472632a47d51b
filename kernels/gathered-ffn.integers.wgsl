// The inner layer of a gathered FFN for rows that are int8 already (linear.quantize.wgsl), by tiles. It makes such rows too: h is quantized
// before it leaves the registers.
#include "gathered-ffn.inner.wgsl"
#include "int8.tile.wgsl"
#include "int8.wgsl"
@group(0) @binding(4) var<storage, read_write> h: array<u32>; // [R][blocks of M][8], words of four int8, padding is zero
@group(0) @binding(5) var<storage, read_write> hScales: array<f32>; // [R][blocks of M]

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var gate = mat4x4<f32>();
  var up = mat4x4<f32>();
  for (var block = 0u; block < row_blocks(); block++) {
    load_block(block, top, left, thread);
    gate += products(row, local.x);
    if (PARTS == 2u) { up += products(row, NX + local.x); }
  }
  let inside = 4u * (left + local.x) < p.count;
  let quad = p.first / 4u + left + local.x;
  let blocks = (p.M + 31u) / 32u;
  // A loop with a bound unknown to the compiler: unrolled, it would repeat `activate` 16 times and compile for seconds.
  for (var r = 0u; r < min(TM, p.R); r++) {
    let first = row_of_four(gate, r);
    let second = row_of_four(up, r);
    var value = vec4<f32>();
    for (var c = 0u; c < min(4u, p.M); c++) { value[c] = inner(4u * quad + c, first[c], second[c]); }
    let scale = scale_of_block(value, thread);
    let i = top + row + r;
    if (inside && i < p.R) {
      h[i * blocks * 8u + quad] = int8_of(value, scale);
      if (quad % 8u == 0u) { hScales[i * blocks + quad / 8u] = scale; }
    }
  }
}
