// weight.f32.wgsl for a weight in halves. They are only stored as such, so no adapter lacks the feature.
alias Packed = vec2<u32>;

fn weight4(k: u32, c: u32) -> vec4<f32> {
  let halves = weight[(c / 16u * p.steps * 16u + k) * 16u + c % 16u];
  return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
