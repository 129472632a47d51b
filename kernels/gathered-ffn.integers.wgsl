// gathered-ffn.wgsl for rows that are int8 already (linear.quantize.wgsl), and that makes such rows: h is quantized before it
// leaves the registers. Needs activation.wgsl, int8.tile.wgsl, int8.wgsl and gathered-ffn.inner.wgsl in front.
struct Params {
  R: u32, // rows of h, at least 1
  blocks: u32, // 32-deep steps over the inputs
  steps: u32, // 16-deep ones
  first: u32, // column of h where the weight slice begins, a multiple of 64
  M: u32, // columns of h that are not padding
  pitch: u32, // vec4 of columns of the weight slice
  hBlocks: u32, // blocks of 32 columns of h
  flags: u32, // 4 gateBias, 8 upBias
  activation: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> gateBias: array<f32>; // [M]
@group(0) @binding(5) var<storage, read> upBias: array<f32>; // [M]
@group(0) @binding(6) var<storage, read_write> h: array<u32>; // [R][hBlocks][8], words of four int8
@group(0) @binding(7) var<storage, read_write> hScales: array<f32>; // [R][hBlocks]

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var gate = mat4x4<f32>();
  var up = mat4x4<f32>();
  for (var block = 0u; block < p.blocks; block++) {
    load_block(block, top, left, thread);
    gate += products(row, local.x);
    if (PARTS == 2u) { up += products(row, NX + local.x); }
  }
  let quad = p.first / 4u + left + local.x;
  let inside = (left + local.x) * PARTS < p.pitch && quad < 8u * p.hBlocks;
  // A loop with a bound unknown to the compiler: unrolled, it would repeat `activate` 16 times and compile for seconds.
  for (var r = 0u; r < min(TM, p.R); r++) {
    var first = gate[0];
    var second = up[0];
    switch r {
      case 1u: { first = gate[1]; second = up[1]; }
      case 2u: { first = gate[2]; second = up[2]; }
      case 3u: { first = gate[3]; second = up[3]; }
      default: {}
    }
    var value = vec4<f32>();
    for (var c = 0u; c < min(4u, p.M); c++) { value[c] = inner(4u * quad + c, first[c], second[c]); }
    let scale = scale_of_block(value, thread);
    let i = top + row + r;
    if (inside && i < p.R) {
      h[i * p.hBlocks * 8u + quad] = int8_of(value, scale);
      if (quad % 8u == 0u) { hScales[i * p.hBlocks + quad / 8u] = scale; }
    }
  }
}
