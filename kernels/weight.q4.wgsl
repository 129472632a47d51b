// weight.f32.wgsl for weights of 4 bits, with an f16 scale and a zero to 32 depths of a column.
alias Packed = vec4<u32>;
override ZEROS: bool = false; // whether zeros are stored; they are 8 otherwise

// Of codes, then scales, then zeros.
fn row_of_panel(row: u32, c: u32) -> u32 {
  let blocks = row_blocks();
  var rows = blocks * 4u + (blocks + 1u) / 2u;
  if (ZEROS) { rows += (blocks + 3u) / 4u; }
  return (c / 16u * rows + row) * 16u + c % 16u;
}

// Depths 4k to 4k + 3 of columns 4c to 4c + 3: in the low half of each byte.
fn nibbles(k: u32, c: u32) -> vec4<u32> {
  return weight[row_of_panel(k / 2u, c)] >> vec4(k % 2u * 4u);
}

fn scales(block: u32, c: u32) -> vec4<f32> {
  let two = weight[row_of_panel(row_blocks() * 4u + block / 2u, c)];
  let halves = select(two.xy, two.zw, block % 2u == 1u);
  return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

fn zeros(block: u32, c: u32) -> vec4<u32> {
  if (!ZEROS) { return vec4(8u); }
  let blocks = row_blocks();
  let bytes = weight[row_of_panel(blocks * 4u + (blocks + 1u) / 2u + block / 4u, c)][block % 4u];
  return (vec4(bytes) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u);
}

// Depths 4k to 4k + 3: a word of four int8 for each of the columns 4c to 4c + 3. The top bit of each byte is set meanwhile, so
// that no byte borrows from the next.
fn codes(k: u32, c: u32) -> vec4<u32> {
  let top = vec4(0x80808080u);
  return (((nibbles(k, c) & vec4(0x0f0f0f0fu)) | top) - zeros(k / 8u, c) * 0x01010101u) ^ top;
}

// 1 + the nibble of byte i / 16: its bits are put into the fraction of 1.0, which is cheaper than a conversion.
fn fraction(words: vec4<u32>, i: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>((((words >> vec4(8u * i)) << vec4(19u)) & vec4(0x00780000u)) | vec4(0x3f800000u));
}

// (16 + code) * scale - (16 + zero) * scale: exact, as a scale has 11 bits.
fn weight4(k: u32, c: u32) -> vec4<f32> {
  let scale = scales(k / 32u, c);
  let least = vec4<f32>(zeros(k / 32u, c) + 16u) * scale;
  return fma(fraction(nibbles(k / 4u, c), k % 4u), 16.0 * scale, -least);
}

fn weight4x4(k: u32, c: u32) -> mat4x4<f32> {
  let words = nibbles(k, c);
  let scale = scales(k / 8u, c);
  let least = -vec4<f32>(zeros(k / 8u, c) + 16u) * scale;
  return mat4x4(
    fma(fraction(words, 0u), 16.0 * scale, least),
    fma(fraction(words, 1u), 16.0 * scale, least),
    fma(fraction(words, 2u), 16.0 * scale, least),
    fma(fraction(words, 3u), 16.0 * scale, least),
  );
}
