import { BLOCK, count_below, dots, hidden_until, RANGE, scale_query, softmax_of_query } from './attention-scores';
import { dots_1x4_f16, weigh_1_f16, widen_f16 } from './f16-rows';
import { vector_bytes } from './simd';
import { add_row, weigh_1, weigh_2 } from './weighted-sum';

/** Of a row of the table: visible prefix, position, whether all visible weights are positive, place in q and o. */
const ENTRY: i32 = 16;
/** The next key in (s, stop] at which some range starts or ends. */
function next_border(s: i32, stop: i32, ranges: usize, count: i32): i32 {
  for (const end = ranges + count * RANGE; ranges < end; ranges += RANGE) {
    const first = load<i32>(ranges), last = load<i32>(ranges, 4);
    if (first > s) stop = min(stop, first);
    if (last > s) stop = min(stop, last);
  }
  return stop;
}

/** Marks the hidden keys of a row of n logits by -infinity; returns how many are visible. */
function hide(row: usize, n: i32, position: u32, ranges: usize, count: i32): i32 {
  let visible = 0;
  for (let s = 0; s < n; ) {
    const next = next_border(s, n, ranges, count);
    if (!hidden_until(s, position, ranges, count)) visible += next - s, s = next;
    else for (; s < next; s++) store<f32>(row + (s << 2), -Infinity);
  }
  return visible;
}

/** Bytes of scratch for attention: to each row its logits, query and entry; two partial sums; hidden ranges; a block of f16, widened. */
export function attention_scratch_bytes(heads: i32, rows: i32, S: i32, dh: i32, hiddenCount: i32, half: i32): f64 {
  const row = vector_bytes<f64>(S) + 4 * <f64>dh + ENTRY;
  return row * heads * rows + 2 * vector_bytes<f64>(dh) + RANGE * <f64>hiddenCount + (half ? BLOCK * 4 * <f64>dh + 4 : 0);
}

/**
 * o = softmax(scale * q . k + bias) v for `rows` query rows that share a key/value head, and for as many of each of the `heads`
 * key/value heads from kv on, whose keys are read together: row i of one is query (first + i) / group in its head
 * (first + i) % group. The result of a row does not depend on the other rows.
 * q, o [T, H, dh]; k, v [S, Hkv, dh]; qPositions [T]; kPositions, bias (or 0) [S]; hidden [hiddenCount] of (start, end, from).
 * With `half` k and v are f16, widened as they are needed, and heads <= 124.
 */
export function attention(
  o: usize, q: usize, k: usize, v: usize, qPositions: usize, kPositions: usize, bias: usize, hidden: usize, hiddenCount: i32,
  kv: i32, heads: i32, first: i32, rows: i32, S: i32, H: i32, Hkv: i32, dh: i32, scale: f32, causal: i32, half: i32, scratch: usize,
): void {
  const group = H / Hkv, bytes = dh << 2, width = half ? dh << 1 : bytes, stride = width * Hkv, pitch = vector_bytes(S);
  const all = heads * rows, parts = scratch + all * pitch, partBytes = vector_bytes(dh), queries = parts + 2 * partBytes;
  const table = queries + all * bytes, ranges = table + all * ENTRY, panel = ranges + hiddenCount * RANGE;
  let direct = half && rows == 1 && !(dh & 31); // else f16 are widened, which pays where rows share it
  const step = half ? bytes : stride; // between the rows of v as they are read
  k += kv * width, v += kv * width;
  for (let i = 0; i < hiddenCount * RANGE; i += RANGE) {
    store<i32>(ranges + i, count_below(kPositions, S, load<u32>(hidden + i)));
    store<i32>(ranges + i, count_below(kPositions, S, load<u32>(hidden + i, 4)), 4);
    store<u32>(ranges + i, load<u32>(hidden + i, 8), 8);
  }
  let reach = 0;
  for (let r = 0; r < all; r++) {
    const i = first + r % rows, entry = table + r * ENTRY, t = i / group, position = load<u32>(qPositions + (t << 2));
    const prefix = causal ? count_below(kPositions, S, <u64>position + 1) : S;
    const place = (t * H + (kv + r / rows) * group + i % group) * bytes;
    store<i32>(entry, prefix), store<u32>(entry, position, 4), store<i32>(entry, place, 12);
    memory.fill(o + place, 0, bytes);
    scale_query(queries + r * bytes, q + place, dh, scale);
    reach = max(reach, prefix);
  }
  const large = panel + bytes * 4; // the queries times 2^48
  if (direct) scale_query(large, queries, all * dh, 281474976710656);
  for (let s = 0; s < reach; s += 4) {
    const skip = hidden_until(s, load<u32>(table, 4), ranges, hiddenCount); // positions ascend: hidden from row 0 is hidden from all
    if (skip > s + 3) {
      s = (skip & ~3) - 4;
      continue;
    }
    const last = min(3, S - 1 - s); // past the end the last key serves as filler
    for (let h = 0, row = scratch + (s << 2), query = queries; h < heads; h++, row += rows * pitch, query += rows * bytes) {
      let k0 = k + s * stride + h * width;
      let k1 = k0 + min(1, last) * stride, k2 = k0 + min(2, last) * stride, k3 = k0 + last * stride;
      if (direct && dots_1x4_f16(row, large + h * bytes, k0, k1, k2, k3, dh)) continue;
      if (half) {
        widen_f16(panel, k0, last + 1, stride, dh);
        k0 = panel, k1 = k0 + min(1, last) * bytes, k2 = k0 + min(2, last) * bytes, k3 = k0 + last * bytes;
      }
      let a = query, out = row;
      for (const end = query + (rows - 1) * bytes; a < end; a += bytes << 1, out += pitch << 1) {
        dots(a, a + bytes, k0, k1, k2, k3, dh, out, out + pitch, true);
      }
      if (rows & 1) dots(a, 0, k0, k1, k2, k3, dh, out, 0, false);
    }
  }
  for (let r = 0; r < all; r++) {
    const entry = table + r * ENTRY, row = scratch + r * pitch, prefix = load<i32>(entry), position = load<u32>(entry, 4);
    if (bias) add_row(row, bias, prefix);
    const visible = hide(row, prefix, position, ranges, hiddenCount);
    if (visible) {
      const query = q + load<i32>(entry, 12), keys = k + (r / rows) * width;
      const zeros = softmax_of_query(row, prefix, query, keys, stride, dh, scale, bias, half, position, ranges, hiddenCount, panel);
      store<i32>(entry, <i32>(zeros == ((prefix + 3) & ~3) - visible), 8);
    } else store<i32>(entry, 0);
  }
  for (let block = 0; block < reach; block += BLOCK) {
    const stop = min(block + BLOCK, reach);
    for (let h = 0; h < heads; h++) {
      const base = v + block * stride + h * width, end = (h + 1) * rows;
      if (half && !direct) widen_f16(panel, base, stop - block, stride, dh);
      for (let r = end - rows; r < end; r += 2) {
        const a = table + r * ENTRY, b = table + min(r + 1, end - 1) * ENTRY, p = scratch + r * pitch;
        const prefix0 = load<i32>(a), prefix1 = r + 1 < end ? load<i32>(b) : 0, clean = load<i32>(a, 8) & load<i32>(b, 8);
        memory.fill(parts, 0, 2 * partBytes);
        for (let s = block; s < stop; ) {
          let next = next_border(s, stop, ranges, hiddenCount);
          if (s < prefix0) next = min(next, prefix0);
          if (s < prefix1) next = min(next, prefix1);
          const sees0 = s < prefix0 && !hidden_until(s, load<u32>(a, 4), ranges, hiddenCount);
          const sees1 = s < prefix1 && !hidden_until(s, load<u32>(b, 4), ranges, hiddenCount);
          const from = p + (s << 2), to = p + (next << 2), values = half ? panel + (s - block) * bytes : base + (s - block) * stride;
          if (sees0 && sees1 && clean) weigh_2(parts, parts + partBytes, from, to, pitch, values, step, dh);
          else if (direct) {
            if (sees0 && !weigh_1_f16(parts, from, to, base + (s - block) * stride, stride, dh, panel)) {
              direct = false, s = block; // once more
              memory.fill(parts, 0, partBytes);
              widen_f16(panel, base, stop - block, stride, dh);
              continue;
            }
          } else {
            if (sees0) weigh_1(parts, from, to, values, step, dh);
            if (sees1) weigh_1(parts + partBytes, from + pitch, to + pitch, values, step, dh);
          }
          s = next;
        }
        add_row(o + load<i32>(a, 12), parts, dh);
        if (prefix1) add_row(o + load<i32>(b, 12), parts + partBytes, dh);
      }
    }
  }
}
