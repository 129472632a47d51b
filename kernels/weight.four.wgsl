// Behind weight.f32.wgsl or weight.f16.wgsl.

// Depths 4k to 4k + 3 of columns 4c to 4c + 3, a depth in each column of the matrix.
fn weight4x4(k: u32, c: u32) -> mat4x4<f32> {
  return mat4x4(weight4(4u * k, c), weight4(4u * k + 1u, c), weight4(4u * k + 2u, c), weight4(4u * k + 3u, c));
}
