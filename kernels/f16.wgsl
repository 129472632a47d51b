// Numbers that may be stored as f16: with PER_WORD 2 an array of 32-bit words holds two of them in each.
override PER_WORD: u32 = 1;

// Number `at` of an array, given the word that it is in.
fn number(word: u32, at: u32) -> f32 {
  return select(bitcast<f32>(word), unpack2x16float(word)[at % 2u], PER_WORD == 2u);
}

// Numbers 4 at to 4 at + 3 of an array, given the four words that they are in.
fn numbers(words: vec4<u32>, at: u32) -> vec4<f32> {
  let two = select(words.xy, words.zw, at % 2u == 1u);
  return select(bitcast<vec4<f32>>(words), vec4(unpack2x16float(two.x), unpack2x16float(two.y)), PER_WORD == 2u);
}
