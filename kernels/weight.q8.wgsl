// weight.f32.wgsl for int8 weights with a scale to a column. Needs weight.integers.wgsl behind it.
fn row_of_panel(row: u32, c: u32) -> u32 {
  return (c / 16u * (blocks() * 8u + 1u) + row) * 16u + c % 16u;
}

// Depths 4k to 4k + 3: a word of four int8 for each of the columns 4c to 4c + 3.
fn codes(k: u32, c: u32) -> vec4<u32> {
  return weight[row_of_panel(k, c)];
}

// Of 32 depths.
fn scales(block: u32, c: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(weight[row_of_panel(blocks() * 8u, c)]);
}
