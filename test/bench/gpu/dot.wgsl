// dot4I8Packed with a sum, in registers.
@group(0) @binding(0) var<uniform> turns: u32;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let other = id.x * 2654435761u;
  var word = vec4<u32>(id.x, id.x ^ 0x01020304u, id.x * 3u, other);
  var a = vec4<i32>();
  var b = vec4<i32>();
  for (var i = 0u; i < turns; i++) {
    a += vec4(dot4I8Packed(word.x, other), dot4I8Packed(word.y, other), dot4I8Packed(word.z, other), dot4I8Packed(word.w, other));
    b += vec4(dot4I8Packed(word.y, word.x), dot4I8Packed(word.z, word.y), dot4I8Packed(word.w, word.z), dot4I8Packed(word.x, word.w));
    word ^= vec4<u32>(a); // else every turn is the first one
  }
  let sum = a + b;
  if (sum.x + sum.y + sum.z + sum.w == 1234567) { out[0] = sum.x; } // hardly ever: it only keeps the work
}
