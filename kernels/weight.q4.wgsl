// weight.f32.wgsl for weights of 4 bits, with an f16 scale and a zero to 32 depths of a column. Needs weight.integers.wgsl
// behind it.
override ZEROS: bool = false; // whether zeros are stored; they are 8 otherwise

fn row_of_panel(row: u32, c: u32) -> u32 {
  var rows = blocks() * 4u + (blocks() + 1u) / 2u;
  if (ZEROS) { rows += (blocks() + 3u) / 4u; }
  return (c / 16u * rows + row) * 16u + c % 16u;
}

// Depths 4k to 4k + 3: a word of four int8 for each of the columns 4c to 4c + 3.
fn codes(k: u32, c: u32) -> vec4<u32> {
  let nibbles = (weight[row_of_panel(k / 2u, c)] >> vec4(k % 2u * 4u)) & vec4(0x0f0f0f0fu);
  var zeros = vec4(0x08080808u);
  if (ZEROS) {
    let block = k / 8u;
    let bytes = weight[row_of_panel(blocks() * 4u + (blocks() + 1u) / 2u + block / 4u, c)][block % 4u];
    zeros = ((vec4(bytes) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u)) * 0x01010101u;
  }
  // The top bit of each byte is set, so that no byte borrows from the next.
  return ((nibbles | vec4(0x80808080u)) - zeros) ^ vec4(0x80808080u);
}

fn scales(block: u32, c: u32) -> vec4<f32> {
  let two = weight[row_of_panel(blocks() * 4u + block / 2u, c)];
  let halves = select(two.xy, two.zw, block % 2u == 1u);
  return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
