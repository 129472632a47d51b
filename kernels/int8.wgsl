// Floats as int8 with an f32 scale to 32 of them: a code is off by at most half a step, 1/254 of the largest magnitude. The invocations of a
// workgroup hold 4 floats each, 8 neighbours a block; the kernel declares THREADS, their number. Needs packed_4x8_integer_dot_product.
var<workgroup> largest: array<u32, THREADS>;

// Scale of the invocation's block. Every invocation calls it. Magnitudes are compared as bits: NaN is above infinity above numbers,
// so that either spoils the scale.
fn scale_of_block(value: vec4<f32>, thread: u32) -> f32 {
  let bits = bitcast<vec4<u32>>(value) & vec4(0x7fffffffu);
  workgroupBarrier();
  largest[thread] = max(max(bits.x, bits.y), max(bits.z, bits.w));
  workgroupBarrier();
  let first = thread / 8u * 8u;
  var most = 0u;
  for (var i = 0u; i < 8u; i++) { most = max(most, largest[first + i]); }
  return bitcast<f32>(most) / 127.0;
}

fn int8_of(value: vec4<f32>, scale: f32) -> u32 {
  // Adapters flush smaller scales to 0.
  if (scale < 1.2e-38) { return 0u; }
  return pack4xI8(vec4<i32>(round(value / scale)));
}
