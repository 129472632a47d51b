// weight.f32.wgsl for int8 weights with a scale to a column.
alias Packed = vec4<u32>;

fn row_of_panel(row: u32, c: u32) -> u32 {
  let rows = row_blocks() * 8u + 1u;
  return (c / 16u * rows + row) * 16u + c % 16u;
}

// Depths 4k to 4k + 3: a word of four int8 for each of the columns 4c to 4c + 3.
fn codes(k: u32, c: u32) -> vec4<u32> {
  return weight[row_of_panel(k, c)];
}

// The same for every block of 32 depths.
fn scales(block: u32, c: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(weight[row_of_panel(row_blocks() * 8u, c)]);
}

// Byte i of each word, as a signed number.
fn signed_byte(words: vec4<u32>, i: u32) -> vec4<f32> {
  return vec4<f32>((bitcast<vec4<i32>>(words) << vec4(24u - 8u * i)) >> vec4(24u));
}

fn weight4(k: u32, c: u32) -> vec4<f32> {
  return signed_byte(codes(k / 4u, c), k % 4u) * scales(0u, c);
}

fn weight4x4(k: u32, c: u32) -> mat4x4<f32> {
  let words = codes(k, c);
  let scale = scales(0u, c);
  return mat4x4(
    signed_byte(words, 0u) * scale,
    signed_byte(words, 1u) * scale,
    signed_byte(words, 2u) * scale,
    signed_byte(words, 3u) * scale,
  );
}
