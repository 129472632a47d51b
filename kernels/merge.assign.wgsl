// Gives every source token the destination with the largest cosine, the first one on ties. A workgroup serves four consecutive
// tokens, so that a destination row is read once for four; invocations go over the destinations. Every cosine is summed
// column by column in the same order: equal rows have equal cosines.

override THREADS: u32 = 64; // invocations, a power of two
const COLUMNS = 64u; // of the four tokens, held in workgroup memory at a time

struct Params {
  tokens: u32,
  kept: u32, // at least 1
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read> destinations: array<u32>; // [kept]
@group(0) @binding(3) var<storage, read_write> assignment: array<u32>; // [tokens], 0xffffffff for a source

var<workgroup> tile: array<vec4<f32>, COLUMNS>; // a column of four tokens per entry
var<workgroup> keys: array<vec4<u32>, THREADS>;
var<workgroup> rows: array<vec4<u32>, THREADS>;

// Ascends with the value. -0 is 0; NaN is -infinity. Integers, because a compiler may assume that no float is NaN.
fn order_keys(value: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(value);
  let magnitude = min(bits & vec4(0x7fffffffu), vec4(0x7f800000u));
  return select(vec4(0x80000000u) + magnitude, vec4(0x80000000u) - magnitude, bits != magnitude);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = (group.x + group.y * groups.x) * 4u;
  if (first >= params.tokens) {
    return;
  }
  let width = params.width;
  // Past the last token the last one is repeated; its extra results are not written.
  let starts = min(first + vec4(0u, 1u, 2u, 3u), vec4(params.tokens - 1u)) * width;

  var best = vec4<u32>(); // below every key
  var best_row = vec4<u32>();
  for (var base = 0u; base < params.kept; base += THREADS) {
    let row = base + thread;
    let destination = destinations[min(row, params.kept - 1u)] * width;
    var cosines = vec4<f32>();
    for (var column = 0u; column < width; column += COLUMNS) {
      let count = min(COLUMNS, width - column);
      workgroupBarrier(); // tile is still being read
      for (var c = thread; c < count; c += THREADS) {
        let at = starts + column + c;
        tile[c] = vec4(unit[at.x], unit[at.y], unit[at.z], unit[at.w]);
      }
      workgroupBarrier();
      for (var c = 0u; c < count; c++) {
        cosines += tile[c] * unit[destination + column + c];
      }
    }
    let keys_here = order_keys(cosines);
    let better = (keys_here > best) & vec4(row < params.kept); // rows ascend, so an equal one stays behind
    best = select(best, keys_here, better);
    best_row = select(best_row, vec4(row), better);
  }

  keys[thread] = best;
  rows[thread] = best_row;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      let other = thread + step;
      let better = (keys[other] > keys[thread]) | ((keys[other] == keys[thread]) & (rows[other] < rows[thread]));
      keys[thread] = select(keys[thread], keys[other], better);
      rows[thread] = select(rows[thread], rows[other], better);
    }
  }
  workgroupBarrier();
  if (thread < 4u && first + thread < params.tokens && assignment[first + thread] == 0xffffffffu) {
    assignment[first + thread] = rows[0][thread];
  }
}
