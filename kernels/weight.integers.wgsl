// Behind weight.q8.wgsl or weight.q4.wgsl: their weights as floats.
alias Packed = vec4<u32>;

// Blocks of 32 inputs.
fn blocks() -> u32 {
  return (p.steps + 1u) / 2u;
}

// Byte i of each word, as a signed number.
fn signed_byte(words: vec4<u32>, i: u32) -> vec4<f32> {
  return vec4<f32>((bitcast<vec4<i32>>(words) << vec4(24u - 8u * i)) >> vec4(24u));
}

fn weight4(k: u32, c: u32) -> vec4<f32> {
  return signed_byte(codes(k / 4u, c), k % 4u) * scales(k / 32u, c);
}

fn weight4x4(k: u32, c: u32) -> mat4x4<f32> {
  let words = codes(k, c);
  let scale = scales(k / 8u, c);
  return mat4x4(
    signed_byte(words, 0u) * scale,
    signed_byte(words, 1u) * scale,
    signed_byte(words, 2u) * scale,
    signed_byte(words, 3u) * scale,
  );
}
