// Multiply-adds in registers. Needs `alias Number = f32;`, or f16 and its extension, in front.
alias Vector = vec4<Number>;
@group(0) @binding(0) var<uniform> turns: u32;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // Eight sums that do not wait for one another; none of the values is known to the compiler, and none grows.
  let seed = Number(id.x % 7u) * 0.1 + 0.25;
  let scale = Vector(seed, seed * 0.5, seed * 0.25, 0.5);
  let shift = Vector(0.5, seed, 0.25, seed);
  var a = scale;
  var b = scale + shift;
  var c = shift;
  var d = scale - shift;
  var e = scale * shift;
  var f = shift - scale;
  var g = shift * shift;
  var h = scale * scale;
  for (var i = 0u; i < turns; i++) {
    a = fma(a, scale, shift);
    b = fma(b, scale, shift);
    c = fma(c, scale, shift);
    d = fma(d, scale, shift);
    e = fma(e, scale, shift);
    f = fma(f, scale, shift);
    g = fma(g, scale, shift);
    h = fma(h, scale, shift);
  }
  let sum = a + b + c + d + e + f + g + h;
  if (sum.x + sum.y + sum.z + sum.w == 12345.0) { out[0] = id.x; } // never: it only keeps the work
}
