// Reading a packed f32 weight, put in front of the kernels that multiply with one; pack.ts tells the layout of all dtypes.
// The kernel declares `weight: array<Packed>`, and `p.steps`, the inputs in steps of 16. A column is one of vec4.
alias Packed = vec4<f32>;

// Columns 4c to 4c + 3 of depth k.
fn weight4(k: u32, c: u32) -> vec4<f32> {
  return weight[(c / 16u * p.steps * 16u + k) * 16u + c % 16u];
}
