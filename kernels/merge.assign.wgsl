// Gives every source token the destination with the largest cosine, the first one on ties. A workgroup serves four consecutive tokens, so that
// a destination row is read once for four; invocations go over the destinations. Every cosine is summed column by column in the same order:
// equal rows have equal cosines.
#include "order.wgsl"
#include "workgroup.wgsl"
struct Params {
  N: u32,
  M: u32, // at least 1
  C: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [N, C]
@group(0) @binding(2) var<storage, read> destinations: array<u32>; // [M]
@group(0) @binding(3) var<storage, read_write> assignment: array<u32>; // [N], 0xffffffff for a source
const THREADS = 64u;
const COLUMNS = 64u; // of the four tokens, held in workgroup memory at a time

var<workgroup> tile: array<vec4<f32>, COLUMNS>; // a column of four tokens per entry

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = (group.x + group.y * groups.x) * 4u;
  if (first >= p.N) { return; }
  // Past the last token the last one is repeated; its extra results are not written.
  let starts = min(first + vec4(0u, 1u, 2u, 3u), vec4(p.N - 1u)) * p.C;
  var best = vec4<u32>(); // below every key
  var best_row = vec4<u32>();
  for (var base = 0u; base < p.M; base += THREADS) {
    let row = base + thread;
    let destination = destinations[min(row, p.M - 1u)] * p.C;
    var cosines = vec4<f32>();
    for (var column = 0u; column < p.C; column += COLUMNS) {
      let count = min(COLUMNS, p.C - column);
      workgroupBarrier(); // the tile before is still being read
      for (var c = thread; c < count; c += THREADS) {
        let at = starts + column + c;
        tile[c] = vec4(unit[at.x], unit[at.y], unit[at.z], unit[at.w]);
      }
      workgroupBarrier();
      for (var c = 0u; c < count; c++) { cosines += tile[c] * unit[destination + column + c]; }
    }
    let bits = bitcast<vec4<u32>>(cosines);
    let keys = vec4(order_key(bits.x), order_key(bits.y), order_key(bits.z), order_key(bits.w));
    let better = (keys > best) & vec4(row < p.M); // rows ascend, so an equal one stays behind
    best = select(best, keys, better);
    best_row = select(best_row, vec4(row), better);
  }
  for (var i = 0u; i < 4u; i++) {
    let row = best_over_workgroup(best[i], best_row[i], thread).y;
    if (thread == 0u && first + i < p.N && assignment[first + i] == 0xffffffffu) { assignment[first + i] = row; }
  }
}
