/**
 * ids[t] = index of the largest number of x[t], the lowest among equal ones; NaN never wins, and 0 where nothing is above
 * -infinity. x [T, V], ids [T]. One scan finds the value, one its place: cheaper than to carry indices along.
 */
export function argmax(x: usize, ids: usize, T: i32, V: i32): void {
  for (let t = 0; t < T; t++, x += V << 2) store<u32>(ids + (t << 2), index_of_largest(x, V));
}

function index_of_largest(x: usize, n: i32): i32 {
  const end = x + (n << 2);
  let i = x;
  let m0 = f32x4.splat(-Infinity), m1 = m0, m2 = m0, m3 = m0;
  for (; i + 64 <= end; i += 64) { // pmax keeps its first operand when the second is NaN
    m0 = f32x4.pmax(m0, v128.load(i)), m1 = f32x4.pmax(m1, v128.load(i, 16));
    m2 = f32x4.pmax(m2, v128.load(i, 32)), m3 = f32x4.pmax(m3, v128.load(i, 48));
  }
  for (; i + 4 <= end; i += 4) m0 = f32x4.pmax(m0, v128.load32_splat(i));
  m0 = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3));
  m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
  m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2));
  const best = f32x4.extract_lane(m0, 0);
  if (best == -Infinity) return 0;
  for (i = x; i + 16 <= end && !v128.any_true(f32x4.eq(v128.load(i), m0)); ) i += 16;
  while (load<f32>(i) != best) i += 4;
  return <i32>(i - x) >> 2;
}
