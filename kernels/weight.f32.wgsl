// Reading a packed f32 weight: the piece in front of all others in a product's kernel, as weight.f16.wgsl, weight.q8.wgsl and weight.q4.wgsl
// are for theirs; pack.ts tells the layout of all. A column is one of vec4.
#include "weight.floats.wgsl"
alias Packed = vec4<f32>;

// Columns 4c to 4c + 3 of depth k.
fn weight4(k: u32, c: u32) -> vec4<f32> { return weight[place_of_floats(k, c)]; }
