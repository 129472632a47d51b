import { dots } from './attention-scores';

/** Four f32 as two pairs of f64. */
// @ts-ignore: decorator
@inline
function low(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}
// @ts-ignore: decorator
@inline
function high(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 0, 1));
}

/**
 * units = x / |x| row by row and total = their sum, both by way of f64: lengths cannot overflow, and a quotient that is
 * exact (vectors on an axis) stays exact. x, units [N, C]; total [C] in f64.
 */
export function merge_units(x: usize, units: usize, total: usize, N: i32, C: i32): void {
  const bytes = C << 2;
  memory.fill(total, 0, C << 3);
  for (let i = 0; i < N; i++, x += bytes, units += bytes) {
    let s0 = f64x2.splat(0), s1 = s0, c = 0;
    for (; c + 16 <= bytes; c += 16) {
      const v = v128.load(x + c), a = low(v), b = high(v);
      s0 = f64x2.add(s0, f64x2.mul(a, a)), s1 = f64x2.add(s1, f64x2.mul(b, b));
    }
    s0 = f64x2.add(s0, s1);
    let squares = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
    for (; c < bytes; c += 4) squares += <f64>load<f32>(x + c) * <f64>load<f32>(x + c);
    const length = sqrt<f64>(squares), lengths = f64x2.splat(length);
    for (c = 0; c + 16 <= bytes; c += 16) {
      const v = v128.load(x + c), sum = total + (c << 1);
      const a = f32x4.demote_f64x2_zero(f64x2.div(low(v), lengths)), b = f32x4.demote_f64x2_zero(f64x2.div(high(v), lengths));
      v128.store(units + c, v128.shuffle<f32>(a, b, 0, 1, 4, 5));
      v128.store(sum, f64x2.add(v128.load(sum), low(a)));
      v128.store(sum, f64x2.add(v128.load(sum, 16), low(b)), 16);
    }
    for (; c < bytes; c += 4) {
      const unit = <f32>(<f64>load<f32>(x + c) / length), sum = total + (c << 1);
      store<f32>(units + c, unit);
      store<f64>(sum, load<f64>(sum) + unit);
    }
  }
}

/**
 * order = the tokens by descending redundancy units . total - 1, equal ones by lower index: a stable merge sort, which
 * never asks for more than "greater than". The last M of order are the destinations; each is assigned to itself.
 * order, assignment [N]; destinations [M]. Scratch: redundancy [N] in f64, other [N].
 */
export function merge_order(
  units: usize, total: usize, order: usize, destinations: usize, assignment: usize, N: i32, M: i32, C: i32, redundancy: usize, other: usize,
): void {
  for (let i = 0; i < N; i++, units += C << 2) {
    let s0 = f64x2.splat(0), s1 = s0, c = 0;
    for (; c + 4 <= C; c += 4) {
      const v = v128.load(units + (c << 2)), sum = total + (c << 3);
      s0 = f64x2.add(s0, f64x2.mul(low(v), v128.load(sum))), s1 = f64x2.add(s1, f64x2.mul(high(v), v128.load(sum, 16)));
    }
    s0 = f64x2.add(s0, s1);
    let sum = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
    for (; c < C; c++) sum += <f64>load<f32>(units + (c << 2)) * load<f64>(total + (c << 3));
    store<f64>(redundancy + (i << 3), sum - 1);
    store<u32>(order + (i << 2), i);
  }
  let from = order, to = other;
  for (let width = 1; width < N; width <<= 1) {
    for (let start = 0; start < N; start += width << 1) {
      const middle = min(start + width, N), end = min(middle + width, N);
      let a = start, b = middle;
      for (let i = start; i < end; i++) {
        const left = load<u32>(from + (a << 2)), right = load<u32>(from + (min(b, N - 1) << 2));
        const takesRight = a == middle || (b < end && load<f64>(redundancy + (right << 3)) > load<f64>(redundancy + (left << 3)));
        store<u32>(to + (i << 2), takesRight ? right : left);
        if (takesRight) b++;
        else a++;
      }
    }
    const swap = from;
    from = to, to = swap;
  }
  if (from != order) memory.copy(order, from, N << 2);
  memory.copy(destinations, order + ((N - M) << 2), M << 2);
  for (let m = 0; m < M; m++) store<u32>(assignment + (load<u32>(destinations + (m << 2)) << 2), m);
}

/**
 * assignment of the sources order[first..last): the destination (one of the last M of order) with the largest cosine, the
 * first on ties; 0 where every cosine is NaN. tile: scratch of 8 numbers.
 */
export function merge_assign(
  units: usize, order: usize, assignment: usize, N: i32, M: i32, C: i32, first: i32, last: i32, tile: usize,
): void {
  const bytes = C << 2, kept = order + ((N - M) << 2);
  for (let s = first; s < last; s += 2) {
    const a = load<u32>(order + (s << 2)), b = load<u32>(order + (min(s + 1, last - 1) << 2));
    let bestA: f32 = -Infinity, bestB = bestA, rowA = 0, rowB = 0;
    for (let m = 0; m < M; m += 4) {
      const d0 = load<u32>(kept + (m << 2)), d1 = load<u32>(kept + (min(m + 1, M - 1) << 2));
      const d2 = load<u32>(kept + (min(m + 2, M - 1) << 2)), d3 = load<u32>(kept + (min(m + 3, M - 1) << 2));
      const u0 = units + d0 * bytes, u1 = units + d1 * bytes, u2 = units + d2 * bytes, u3 = units + d3 * bytes;
      dots(units + a * bytes, units + b * bytes, u0, u1, u2, u3, C, tile, tile + 16, true);
      for (let j = 0; j < 4 && m + j < M; j++) {
        const cosineA = load<f32>(tile + (j << 2)), cosineB = load<f32>(tile + (j << 2), 16);
        if (cosineA > bestA) bestA = cosineA, rowA = m + j;
        if (cosineB > bestB) bestB = cosineB, rowB = m + j;
      }
    }
    store<u32>(assignment + (a << 2), rowA);
    store<u32>(assignment + (b << 2), rowB);
  }
}

/** y[j] = mean of the rows of x with assignment j, summed in f64. x [N, C], assignment [N], y [M, C]. Scratch: starts [M + 1], list [N]. */
export function merge_mean(x: usize, assignment: usize, y: usize, N: i32, M: i32, C: i32, starts: usize, list: usize): void {
  const bytes = C << 2;
  memory.fill(starts, 0, (M + 1) << 2);
  for (let i = 0; i < N; i++) {
    const count = starts + (load<u32>(assignment + (i << 2)) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
  for (let j = 0, sum = 0; j <= M; j++) {
    sum += load<i32>(starts + (j << 2));
    store<i32>(starts + (j << 2), sum);
  }
  for (let i = N - 1; i >= 0; i--) { // from behind: the end of a group becomes its start
    const start = starts + (load<u32>(assignment + (i << 2)) << 2), place = load<i32>(start) - 1;
    store<i32>(start, place);
    store<u32>(list + (place << 2), i);
  }
  for (let j = 0; j < M; j++, y += bytes) {
    const first = list + (load<i32>(starts + (j << 2)) << 2), last = list + (load<i32>(starts + (j << 2), 4) << 2);
    const count = <f64>(<i32>(last - first) >> 2), counts = f64x2.splat(count);
    let c = 0;
    for (; c + 16 <= bytes; c += 16) {
      let s0 = f64x2.splat(0), s1 = s0;
      for (let i = first; i < last; i += 4) {
        const v = v128.load(x + load<u32>(i) * bytes + c);
        s0 = f64x2.add(s0, low(v)), s1 = f64x2.add(s1, high(v));
      }
      const a = f32x4.demote_f64x2_zero(f64x2.div(s0, counts)), b = f32x4.demote_f64x2_zero(f64x2.div(s1, counts));
      v128.store(y + c, v128.shuffle<f32>(a, b, 0, 1, 4, 5));
    }
    for (; c < bytes; c += 4) {
      let sum: f64 = 0;
      for (let i = first; i < last; i += 4) sum += load<f32>(x + load<u32>(i) * bytes + c);
      store<f32>(y + c, <f32>(sum / count));
    }
  }
}
