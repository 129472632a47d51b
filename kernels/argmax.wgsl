// The index of the largest value of each row, one workgroup per row; equal values: the lowest index; NaN never wins.
#include "order.wgsl"
#include "workgroup.wgsl"
struct Params {
  T: u32,
  V: u32, // at least 1
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [T, V], bits of f32
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [T]
const THREADS = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let t = group.x + group.y * groups.x;
  if (t >= p.T) { return; }
  var best = 0u; // below every key
  var index = 0u;
  for (var i = thread; i < p.V; i += THREADS) {
    let key = order_key(x[t * p.V + i]);
    if (key > best) {
      best = key;
      index = i;
    }
  }
  index = best_over_workgroup(best, index, thread).y;
  if (thread == 0u) { ids[t] = index; }
}
