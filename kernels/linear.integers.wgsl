// linear.wgsl for rows that are int8 already (linear.quantize.wgsl). Needs activation.wgsl and int8.tile.wgsl in front.
struct Params {
  R: u32, // result rows, at least 1
  blocks: u32, // 32-deep steps over the inputs
  steps: u32, // 16-deep ones
  count: u32, // columns of this weight slice
  first: u32, // column of y where the slice begins
  N: u32, // columns of y
  pitch: u32, // vec4 of columns of the weight slice
  rowOffset: u32, // row of y of result 0, where outRows is absent
  flags: u32, // 2 bias, 4 outRows, 8 rowGate, 16 accumulate
  activation: u32,
  start: u32, // added to i in outRows and rowGate
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read> outRows: array<u32>; // [start + R]
@group(0) @binding(6) var<storage, read> rowGate: array<f32>; // [start + R]
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // [U, N]

@compute @workgroup_size(NX, NY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let thread = local.y * NX + local.x;
  let top = group.y * BM;
  let left = group.x * NX;
  let row = local.y * TM;
  var c = mat4x4<f32>();
  for (var block = 0u; block < p.blocks; block++) {
    load_block(block, top, left, thread);
    c += products(row, local.x);
  }
  // Loops with bounds unknown to the compiler: unrolled, they would repeat `activate` 16 times and compile for seconds.
  let quad = left + local.x;
  let i0 = top + row;
  let columns = min(4u, p.count - min(4u * quad, p.count));
  for (var m = 0u; m < TM && i0 + m < p.R; m++) {
    let i = p.start + i0 + m;
    var sum = c[0];
    switch m {
      case 1u: { sum = c[1]; }
      case 2u: { sum = c[2]; }
      case 3u: { sum = c[3]; }
      default: {}
    }
    var to = p.rowOffset + i0 + m;
    if ((p.flags & 4u) != 0u) { to = outRows[i]; }
    var gate = 1.0;
    if ((p.flags & 8u) != 0u) { gate = rowGate[i]; }
    for (var e = 0u; e < columns; e++) {
      let n = p.first + 4u * quad + e;
      var value = sum[e];
      if ((p.flags & 2u) != 0u) { value += bias[n]; }
      value = activate(p.activation, value) * gate;
      if ((p.flags & 16u) != 0u) { value += y[to * p.N + n]; }
      y[to * p.N + n] = value;
    }
  }
}
