/**
 * Rotates pairs of x [T, H, dh] in place by the angles of cos, sin [T, dh/2], or of their rows `rows` [T] unless that is 0:
 * (a, b) -> (a cos - b sin, b cos + a sin). Pairs are (c, c + dh/2), with `interleaved` (2c, 2c + 1). Products are rounded before they
 * are added, in both binaries.
 */
export function rope(x: usize, cosines: usize, sines: usize, rows: usize, T: i32, H: i32, dh: i32, interleaved: i32): void {
  const half = (dh >> 1) << 2;
  for (let t = 0; t < T; t++) {
    const row: usize = (rows ? <usize>load<u32>(rows + (t << 2)) : t) * half;
    for (let h = 0; h < H; h++, x += half << 1) {
      if (interleaved) rotate_neighbours(x, cosines + row, sines + row, half);
      else rotate_halves(x, x + half, cosines + row, sines + row, half);
    }
  }
}

/** The numbers of x with those of z; each has `bytes` bytes, as cos and sin have. */
function rotate_halves(x: usize, z: usize, cos: usize, sin: usize, bytes: i32): void {
  let i = 0;
  for (; i + 16 <= bytes; i += 16) {
    const a = v128.load(x + i), b = v128.load(z + i), c = v128.load(cos + i), s = v128.load(sin + i);
    v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(z + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (; i < bytes; i += 4) rotate(x + i, z + i, load<f32>(cos + i), load<f32>(sin + i));
}

function rotate_neighbours(x: usize, cos: usize, sin: usize, bytes: i32): void {
  let i = 0;
  for (; i + 8 <= bytes; i += 8, x += 16) {
    const v = v128.load(x), c = v128.load64_zero(cos + i), s = v128.load64_zero(sin + i);
    const turned = f32x4.mul(v128.shuffle<f32>(v, v, 1, 0, 3, 2), v128.shuffle<f32>(s, s, 0, 0, 1, 1));
    const signed = v128.xor(turned, i32x4(-2147483648, 0, -2147483648, 0));
    v128.store(x, f32x4.add(f32x4.mul(v, v128.shuffle<f32>(c, c, 0, 0, 1, 1)), signed));
  }
  for (; i < bytes; i += 4, x += 8) rotate(x, x + 4, load<f32>(cos + i), load<f32>(sin + i));
}

// @ts-ignore: decorator
@inline
function rotate(first: usize, second: usize, c: f32, s: f32): void {
  const a = load<f32>(first), b = load<f32>(second);
  store<f32>(first, a * c - b * s);
  store<f32>(second, b * c + a * s);
}
