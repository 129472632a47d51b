// Softmax attention for few query rows: one workgroup per row, head and slice of the keys, so that decoding fills a GPU too.
// Invocations are the keys of a block while logits are computed and columns while values are added up. With one slice the
// result is final; with more, each leaves sums, peak and total for attention.combine.wgsl.
// An invisible key weighs 0 and is skipped by a branch, never multiplied, so that infinity in its value row stays out.
#include "attention.keys.wgsl"
#include "workgroup.wgsl"
@group(0) @binding(1) var<storage, read> q: array<f32>; // [T, H, dh]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [C, Hkv, dh], C >= S; f32 or f16
@group(0) @binding(3) var<storage, read> v: array<u32>; // [C, Hkv, dh], likewise
@group(0) @binding(8) var<storage, read_write> o: array<f32>; // [T, H, dh], or [T, H, slices][dh sums, peak, total]
override SLICE_KEYS: u32; // keys of a slice
const THREADS = 64u; // keys of a block, columns of a step
const STEPS = 4u; // columns of o per invocation
const MASKED = -1e30; // no infinity in WGSL

var<workgroup> weights: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let dh = p.dh;
  let slices = max(1u, (p.S + SLICE_KEYS - 1u) / SLICE_KEYS);
  let columns = THREADS * STEPS;
  let column_groups = (dh + columns - 1u) / columns;
  let flat = group.x + group.y * groups.x;
  let pairs = p.T * p.H;
  if (flat >= pairs * column_groups * slices) { return; }
  let pair = flat % pairs; // t * H + h
  let first_column = flat / pairs % column_groups * columns;
  let slice = flat / pairs / column_groups;
  let kv_head = pair % p.H / (p.H / p.Hkv);
  let q_position = qPositions[pair / p.H];
  let limit = min(visible_prefix(q_position), (slice + 1u) * SLICE_KEYS);

  var sums: array<f32, STEPS>; // columns first_column + thread + THREADS * (0 .. 3)
  var peak = MASKED;
  var total = 0.0; // of this invocation's keys
  var seen = 0u;
  for (var base = slice * SLICE_KEYS; base < limit; base += THREADS) {
    let block = min(THREADS, limit - base);
    let key = base + thread;
    var visible = false;
    var logit = MASKED;
    if (thread < block) { visible = !are_hidden(vec4(q_position), kPositions[key]).x; }
    if (visible) {
      let start = (key * p.Hkv + kv_head) * dh;
      var dot = 0.0;
      for (var c = 0u; c < dh; c++) {
        dot += q[pair * dh + c] * number(k[(start + c) / PER_WORD], start + c);
      }
      logit = p.scale * dot;
      if (p.hasBias != 0u) { logit += keyBias[key]; }
    }
    let new_peak = max(peak, max_over_workgroup(logit, thread));
    let shrink = exp(peak - new_peak);
    peak = new_peak;
    total *= shrink;
    var weight = 0.0;
    if (visible) {
      weight = exp(logit - peak);
      total += weight;
      seen++;
    }
    weights[thread] = weight;
    workgroupBarrier();
    for (var i = 0u; i < STEPS; i++) {
      let column = first_column + thread + THREADS * i;
      if (column < dh) {
        var sum = 0.0;
        for (var j = 0u; j < block; j++) {
          if (weights[j] != 0.0) {
            let at = ((base + j) * p.Hkv + kv_head) * dh + column;
            sum += weights[j] * number(v[at / PER_WORD], at);
          }
        }
        sums[i] = sums[i] * shrink + sum;
      }
    }
    // The barriers of the next maximum keep weights alive until everyone has read them.
  }

  let sums_of_all = sum_over_workgroup(vec2(total, f32(seen)), thread);
  let all = sums_of_all.x;
  let some_seen = sums_of_all.y > 0.0;
  let is_final = slices == 1u;
  let start = select((pair * slices + slice) * (dh + 2u), pair * dh, is_final);
  for (var i = 0u; i < STEPS; i++) {
    let column = first_column + thread + THREADS * i;
    if (column < dh) {
      var value = 0.0; // of a query that sees no key
      if (some_seen) { value = select(sums[i], sums[i] / all, is_final); }
      o[start + column] = value;
    }
  }
  if (!is_final && first_column == 0u && thread == 0u) {
    o[start + dh] = peak;
    o[start + dh + 1u] = select(-1.0, all, some_seen); // a total of -1: no key seen
  }
}
