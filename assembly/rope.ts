/**
 * Rotates pairs of x [T, H, dh] in place by the angles of cos, sin [T, dh/2], or of their rows `rows` [T] unless that
 * is 0: (a, b) -> (a cos - b sin, b cos + a sin). Pairs are (c, c + dh/2). Products are rounded before they are added, in both binaries.
 */
export function rope_neox(x: usize, cosines: usize, sines: usize, rows: usize, T: i32, H: i32, dh: i32): void {
  const half = (dh >> 1) << 2;
  for (let t = 0; t < T; t++) {
    const row: usize = (rows ? <usize>load<u32>(rows + (t << 2)) : t) * half;
    const cos = cosines + row, sin = sines + row;
    for (let h = 0; h < H; h++, x += half << 1) {
      const z = x + half;
      let i = 0;
      for (; i + 16 <= half; i += 16) {
        const a = v128.load(x + i), b = v128.load(z + i), c = v128.load(cos + i), s = v128.load(sin + i);
        v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
        v128.store(z + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
      }
      for (; i < half; i += 4) rotate(x + i, z + i, load<f32>(cos + i), load<f32>(sin + i));
    }
  }
}

/** The same with pairs (2c, 2c + 1). */
export function rope_interleaved(x: usize, cosines: usize, sines: usize, rows: usize, T: i32, H: i32, dh: i32): void {
  const half = (dh >> 1) << 2;
  for (let t = 0; t < T; t++) {
    const row: usize = (rows ? <usize>load<u32>(rows + (t << 2)) : t) * half;
    const cos = cosines + row, sin = sines + row;
    for (let h = 0; h < H; h++) {
      let i = 0;
      for (; i + 8 <= half; i += 8, x += 16) {
        const v = v128.load(x), c = v128.load64_zero(cos + i), s = v128.load64_zero(sin + i);
        const turned = f32x4.mul(v128.shuffle<f32>(v, v, 1, 0, 3, 2), v128.shuffle<f32>(s, s, 0, 0, 1, 1));
        const signed = v128.xor(turned, i32x4(-2147483648, 0, -2147483648, 0));
        v128.store(x, f32x4.add(f32x4.mul(v, v128.shuffle<f32>(c, c, 0, 0, 1, 1)), signed));
      }
      for (; i < half; i += 4, x += 8) rotate(x, x + 4, load<f32>(cos + i), load<f32>(sin + i));
    }
  }
}

// @ts-ignore: decorator
@inline
function rotate(first: usize, second: usize, c: f32, s: f32): void {
  const a = load<f32>(first), b = load<f32>(second);
  store<f32>(first, a * c - b * s);
  store<f32>(second, b * c + a * s);
}
