// What weight.f32.wgsl and weight.f16.wgsl share.

// Where columns 4c to 4c + 3 of depth k are.
fn place_of_floats(k: u32, c: u32) -> u32 {
  return (c / 16u * ((p.K + 15u) / 16u * 16u) + k) * 16u + c % 16u;
}

// Depths 4k to 4k + 3 of columns 4c to 4c + 3, a depth in each column of the matrix.
fn weight4x4(k: u32, c: u32) -> mat4x4<f32> {
  return mat4x4(weight4(4u * k, c), weight4(4u * k + 1u, c), weight4(4u * k + 2u, c), weight4(4u * k + 3u, c));
}
