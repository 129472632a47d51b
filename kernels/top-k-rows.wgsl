// The R rows with the largest keys, ascending; equal keys: the lowest row. Forced rows have the largest key of all, so
// they are always among them and do not count towards k = R - forced rows.
//
// One workgroup: a radix select finds the smallest key that is kept, 8 bits at a time from the top, with histograms that
// integer atomics fill in any order; then every invocation writes the kept rows of its own run of consecutive rows.

#include "order.wgsl"
struct Params {
  N: u32,
  R: u32, // 1 to N
  rangeCount: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> scores: array<u32>; // [N], bits of f32
@group(0) @binding(2) var<storage, read> ranges: array<u32>; // [rangeCount][start, end]: forced rows
@group(0) @binding(3) var<storage, read_write> rows: array<u32>; // [R]
const THREADS = 256u; // invocations, and bins of a histogram

var<workgroup> bins: array<atomic<u32>, THREADS>;
var<workgroup> scan: array<vec2<u32>, THREADS>;
var<workgroup> selected: vec2<u32>; // (key prefix, rows of that prefix that are kept)

fn key_of(row: u32) -> u32 {
  for (var i = 0u; i < p.rangeCount; i++) {
    if (ranges[2u * i] <= row && row < ranges[2u * i + 1u]) { return 0xffffffffu; }
  }
  return order_key(scores[row]);
}

// The sum over this invocation and all before it.
fn inclusive_scan(value: vec2<u32>, thread: u32) -> vec2<u32> {
  var sum = value;
  for (var step = 1u; step < THREADS; step *= 2u) {
    scan[thread] = sum;
    workgroupBarrier();
    if (thread >= step) {
      sum += scan[thread - step];
    }
    workgroupBarrier();
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
  if (thread == 0u) {
    selected = vec2(0u, p.R);
  }
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    let bin = THREADS - 1u - thread; // bins in descending order, so that the scan counts the larger ones
    atomicStore(&bins[bin], 0u);
    let before = workgroupUniformLoad(&selected);
    for (var row = thread; row < p.N; row += THREADS) {
      let key = key_of(row);
      let rest = key ^ before.x;
      // Two shifts: the first digit has no prefix, and a shift by 32 is not defined.
      if ((rest >> shift) >> 8u == 0u) {
        atomicAdd(&bins[(key >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    let count = atomicLoad(&bins[bin]);
    let upto = inclusive_scan(vec2(count, 0u), thread).x;
    let above = upto - count;
    if (above < before.y && before.y <= upto) {
      selected = vec2(before.x | (bin << shift), before.y - above);
    }
  }
  let threshold = workgroupUniformLoad(&selected);

  let run = (p.N + THREADS - 1u) / THREADS;
  let start = min(thread * run, p.N);
  let end = min(start + run, p.N);
  var counts = vec2<u32>(); // (rows above the threshold, rows at it)
  for (var row = start; row < end; row++) {
    let key = key_of(row);
    counts += vec2(u32(key > threshold.x), u32(key == threshold.x));
  }
  let before = inclusive_scan(counts, thread) - counts;
  var ties = before.y;
  var place = before.x + min(ties, threshold.y);
  for (var row = start; row < end; row++) {
    let key = key_of(row);
    let tie = key == threshold.x;
    if (key > threshold.x || (tie && ties < threshold.y)) {
      rows[place] = row;
      place++;
    }
    ties += u32(tie);
  }
}
