// Put in front of the kernels of the inner layer, which declare gateBias, upBias, PARTS and in `p` M, flags and the activation.
// Needs activation.wgsl in front.

// Channel m of h from its sums. Padding (m >= M) becomes 0, as act(0) is.
fn inner(m: u32, first: f32, second: f32) -> f32 {
  var value = first;
  var up = second;
  if (m < p.M) {
    if (PARTS == 2u && (p.flags & 4u) != 0u) { value += gateBias[m]; }
    if ((p.flags & 8u) != 0u) {
      if (PARTS == 2u) { up += upBias[m]; } else { value += upBias[m]; }
    }
  }
  value = activate(p.activation, value);
  if (PARTS == 2u) { value *= up; }
  return value;
}
