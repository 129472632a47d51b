// Ascends with the float of these bits. -0 is 0; NaN is -infinity, so it exceeds nothing. Floats are compared as integers because a shader
// compiler may assume that none of them is NaN.
fn order_key(bits: u32) -> u32 {
  let magnitude = min(bits & 0x7fffffffu, 0x7f800000u);
  let is_negative = bits != magnitude; // the sign is set, or it is NaN
  return select(0x80000000u + magnitude, 0x80000000u - magnitude, is_negative);
}
