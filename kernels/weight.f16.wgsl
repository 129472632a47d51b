// weight.f32.wgsl for a weight in halves. They are only stored as such, so no adapter lacks the feature.
#include "weight.floats.wgsl"
alias Packed = vec2<u32>;

fn weight4(k: u32, c: u32) -> vec4<f32> {
  let halves = weight[place_of_floats(k, c)];
  return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
