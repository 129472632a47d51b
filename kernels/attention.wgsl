// Softmax attention by tiles. A tile of queries is one of pairs of a query row and a head, of the heads that share a key/value head: pair i is
// row i / group and head i % group of them. So every key is read for as many queries as there are, and few keys beyond the diagonal are.
// A workgroup owns 4 NY pairs and walks over tiles of 32 keys, an invocation 4 pairs by 4 keys of the logits, and 4 pairs by 2 or 4 vec4 of
// columns of the result. Keys and values are staged in workgroup memory, as f32, 64 columns at a time; queries are read through the cache.
// The softmax is online: no row of logits is ever stored.
//
// An invisible key weighs 0 and its value row is replaced, not multiplied, so that infinity in it stays out.
#include "attention.keys.wgsl"
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [T, H, dh]
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [C, Hkv, dh], C >= S; f32 or f16
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [C, Hkv, dh], likewise
@group(0) @binding(8) var<storage, read_write> o: array<vec4<f32>>; // [T, H, dh]
override NY: u32 = 16; // invocations down, at most 16
override WIDE: bool = false; // heads of more than 64 columns: 128 to a workgroup
const NX = 8u; // invocations across
const KEYS = 4u * NX; // of a tile
const QUADS = 16u; // vec4 of columns that are staged at a time
const LOW = -1e30; // below every logit that counts; no infinity in WGSL
const MASKED = -3e38; // the logit of an invisible key, below LOW

var<workgroup> staged: array<vec4<f32>, KEYS * QUADS>; // keys, then values of a tile
var<workgroup> shared_rows: array<vec4<f32>, 4u * NY * NX>; // peaks, then weights, of the pairs of a tile

fn max4(x: vec4<f32>) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

// Which of four queries see a key.
fn are_visible(positions: vec4<u32>, key: u32) -> vec4<bool> {
  let position = kPositions[key];
  return (vec4(p.causal == 0u) | (vec4(position) <= positions)) & !are_hidden(positions, position);
}

// Where column c of a key is staged: so that invocations side by side find theirs in different banks.
fn place(key: u32, c: u32) -> u32 {
  return key * QUADS + (c ^ (key / 4u));
}

// Where invocation (x, y) shares its numbers, 8 further on those of its next pair; for the same reason.
fn shared_place(x: u32, y: u32) -> u32 {
  return 4u * NX * y + (x ^ (y % NX));
}

// What queries at positions first to last see of keys [start, end).
const NONE = 0u; // no query sees a key
const SOME = 1u;
const ALL = 2u; // every query sees every key
fn sight(first: u32, last: u32, start: u32, end: u32) -> u32 {
  let low = kPositions[start];
  let high = kPositions[end - 1u];
  var sees = select(ALL, SOME, p.causal != 0u && high > first);
  for (var i = 0u; i < p.hiddenCount; i++) {
    let since = hidden[3u * i + 2u];
    if (hidden[3u * i] <= high && low < hidden[3u * i + 1u] && last >= since) {
      let covered = hidden[3u * i] <= low && high < hidden[3u * i + 1u] && first >= since;
      sees = min(sees, select(SOME, NONE, covered));
    }
  }
  return sees;
}

fn weighed(values: mat4x4<f32>, w: vec4<f32>) -> vec4<f32> {
  let counts = w != vec4<f32>();
  return w.x * select(vec4<f32>(), values[0], counts.x) + w.y * select(vec4<f32>(), values[1], counts.y)
    + w.z * select(vec4<f32>(), values[2], counts.z) + w.w * select(vec4<f32>(), values[3], counts.w);
}

// Adds the staged values of columns x and x + 8 by their weights, for the four pairs of row y.
fn add_values(left: ptr<function, mat4x4<f32>>, right: ptr<function, mat4x4<f32>>, x: u32, y: u32, all: bool) {
  for (var i = 0u; i < NX; i++) {
    let at = shared_place(i, y);
    let w = mat4x4(shared_rows[at], shared_rows[at + NX], shared_rows[at + 2u * NX], shared_rows[at + 3u * NX]);
    let key = 4u * i;
    let a = mat4x4(staged[place(key, x)], staged[place(key + 1u, x)], staged[place(key + 2u, x)], staged[place(key + 3u, x)]);
    let c = x + NX;
    let b = mat4x4(staged[place(key, c)], staged[place(key + 1u, c)], staged[place(key + 2u, c)], staged[place(key + 3u, c)]);
    if (all) {
      *left += a * w;
      *right += b * w;
    } else {
      *left += mat4x4(weighed(a, w[0]), weighed(a, w[1]), weighed(a, w[2]), weighed(a, w[3]));
      *right += mat4x4(weighed(b, w[0]), weighed(b, w[1]), weighed(b, w[2]), weighed(b, w[3]));
    }
  }
}

fn scaled(sums: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(sums[0] * by.x, sums[1] * by.y, sums[2] * by.z, sums[3] * by.w);
}

// The first `own` of four pairs.
fn store(at: vec4<u32>, own: u32, sums: mat4x4<f32>) {
  if (own > 0u) { o[at.x] = sums[0]; }
  if (own > 1u) { o[at.y] = sums[1]; }
  if (own > 2u) { o[at.z] = sums[2]; }
  if (own > 3u) { o[at.w] = sums[3]; }
}

@compute @workgroup_size(NX, NY)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let x = local.x;
  let y = local.y;
  let head_quads = p.dh / 4u;
  let group = p.H / p.Hkv;
  let pairs = p.T * group;
  let tiles = (pairs + 4u * NY - 1u) / (4u * NY);
  let columns = select(QUADS, 2u * QUADS, WIDE);
  let flat = workgroup.x + workgroup.y * workgroups.x;
  if (flat >= tiles * p.Hkv * ((head_quads + columns - 1u) / columns)) { return; }
  let first = (tiles - 1u - flat % tiles) * 4u * NY; // the last rows, which see most keys, begin
  let kv_head = flat / tiles % p.Hkv;
  let first_quad = flat / tiles / p.Hkv * columns;
  let first_position = qPositions[first / group];
  let last_position = qPositions[(min(first + 4u * NY, pairs) - 1u) / group];
  let limit = visible_prefix(last_position);

  // Pairs past the last one repeat it and are not stored.
  let pair = min(first + 4u * y + vec4(0u, 1u, 2u, 3u), vec4(pairs - 1u));
  let own = min(4u, pairs - min(pairs, first + 4u * y));
  let rows = pair / group;
  let positions = vec4(qPositions[rows.x], qPositions[rows.y], qPositions[rows.z], qPositions[rows.w]);
  let query = (rows * p.H + kv_head * group + pair % group) * head_quads;
  let mine = shared_place(x, y);

  // Sums by columns x, x + 8, x + 16 and x + 24; a column of each matrix is a pair.
  var o0 = mat4x4<f32>();
  var o1 = mat4x4<f32>();
  var o2 = mat4x4<f32>();
  var o3 = mat4x4<f32>();
  var peak = vec4(LOW);
  var total = vec4<f32>(); // of this invocation's keys
  var seen = vec4<u32>();
  for (var base = 0u; base < limit; base += KEYS) {
    let sees = sight(first_position, last_position, base, min(base + KEYS, limit));
    if (sees == NONE) { continue; }
    let all = sees == ALL && base + KEYS <= limit;

    var s = mat4x4<f32>(); // logits: keys base + 4 x to base + 4 x + 3 of each pair
    for (var start = 0u; start < head_quads; start += QUADS) {
      workgroupBarrier(); // what was staged may be overwritten
      for (var i = thread; i < KEYS * QUADS; i += NX * NY) {
        let c = start + i % QUADS;
        let key = min(base + i / QUADS, limit - 1u);
        if (c < head_quads) {
          let at = (key * p.Hkv + kv_head) * head_quads + c;
          staged[place(i / QUADS, i % QUADS)] = numbers(k[at / PER_WORD], at);
        }
      }
      workgroupBarrier();
      for (var c = 0u; c < min(QUADS, head_quads - start); c++) {
        let at = query + start + c;
        let key = 4u * x;
        let keys = mat4x4(staged[place(key, c)], staged[place(key + 1u, c)], staged[place(key + 2u, c)], staged[place(key + 3u, c)]);
        s += mat4x4(q[at.x] * keys, q[at.y] * keys, q[at.z] * keys, q[at.w] * keys);
      }
    }
    s *= p.scale;
    if (p.hasBias != 0u) {
      let keys = min(base + 4u * x + vec4(0u, 1u, 2u, 3u), vec4(limit - 1u));
      let bias = vec4(keyBias[keys.x], keyBias[keys.y], keyBias[keys.z], keyBias[keys.w]);
      s += mat4x4(bias, bias, bias, bias);
    }
    if (all) {
      seen = vec4(1u);
    } else {
      for (var i = 0u; i < 4u; i++) {
        let key = base + 4u * x + i;
        let visible = are_visible(positions, min(key, limit - 1u)) & vec4(key < limit);
        seen |= vec4<u32>(visible);
        let others = vec4(i) != vec4(0u, 1u, 2u, 3u);
        s = mat4x4(
          select(vec4(MASKED), s[0], others | vec4(visible.x)),
          select(vec4(MASKED), s[1], others | vec4(visible.y)),
          select(vec4(MASKED), s[2], others | vec4(visible.z)),
          select(vec4(MASKED), s[3], others | vec4(visible.w)),
        );
      }
    }

    shared_rows[mine] = vec4(max4(s[0]), max4(s[1]), max4(s[2]), max4(s[3]));
    workgroupBarrier();
    var new_peak = peak;
    for (var i = 0u; i < NX; i++) {
      new_peak = max(new_peak, shared_rows[shared_place(i, y)]);
    }
    workgroupBarrier(); // the weights take the place of the peaks
    let shrink = exp(peak - new_peak);
    peak = new_peak;
    let w = mat4x4(
      select(exp(s[0] - peak.x), vec4<f32>(), s[0] == vec4(MASKED)),
      select(exp(s[1] - peak.y), vec4<f32>(), s[1] == vec4(MASKED)),
      select(exp(s[2] - peak.z), vec4<f32>(), s[2] == vec4(MASKED)),
      select(exp(s[3] - peak.w), vec4<f32>(), s[3] == vec4(MASKED)),
    );
    total = total * shrink + vec4(1.0) * w;
    shared_rows[mine] = w[0];
    shared_rows[mine + NX] = w[1];
    shared_rows[mine + 2u * NX] = w[2];
    shared_rows[mine + 3u * NX] = w[3];

    o0 = scaled(o0, shrink);
    o1 = scaled(o1, shrink);
    o2 = scaled(o2, shrink);
    o3 = scaled(o3, shrink);
    for (var start = 0u; start < columns; start += QUADS) {
      if (start > 0u) {
        workgroupBarrier();
      }
      for (var i = thread; i < KEYS * QUADS; i += NX * NY) {
        let c = first_quad + start + i % QUADS;
        let key = min(base + i / QUADS, limit - 1u);
        if (c < head_quads) {
          let at = (key * p.Hkv + kv_head) * head_quads + c;
          staged[place(i / QUADS, i % QUADS)] = numbers(v[at / PER_WORD], at);
        }
      }
      workgroupBarrier();
      if (start == 0u) {
        add_values(&o0, &o1, x, y, all);
      } else {
        add_values(&o2, &o3, x, y, all);
      }
    }
  }

  workgroupBarrier();
  shared_rows[mine] = total;
  shared_rows[mine + NX] = vec4<f32>(seen);
  workgroupBarrier();
  var totals = vec4<f32>();
  var sighted = vec4<f32>();
  for (var i = 0u; i < NX; i++) {
    totals += shared_rows[shared_place(i, y)];
    sighted += shared_rows[shared_place(i, y) + NX];
  }
  // A query that sees no key gives zeros: its sums are 0.
  let scale = 1.0 / select(vec4(1.0), totals, sighted > vec4<f32>());
  let column = first_quad + x;
  let at = query + column;
  if (column < head_quads) { store(at, own, scaled(o0, scale)); }
  if (column + NX < head_quads) { store(at + NX, own, scaled(o1, scale)); }
  if (WIDE) {
    if (column + 2u * NX < head_quads) { store(at + 2u * NX, own, scaled(o2, scale)); }
    if (column + 3u * NX < head_quads) { store(at + 3u * NX, own, scaled(o3, scale)); }
  }
}
