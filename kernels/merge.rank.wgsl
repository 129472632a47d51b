// Sorts tokens by descending redundancy, ties by token: a token's place is the number of tokens before it. The last M places are the
// destinations.
#include "order.wgsl"
struct Params {
  N: u32,
  M: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> redundancy: array<u32>; // [N], bits of f32
@group(0) @binding(2) var<storage, read_write> destinations: array<u32>; // [M]
@group(0) @binding(3) var<storage, read_write> assignment: array<u32>; // [N], 0xffffffff for a source
const THREADS = 64u;

var<workgroup> keys: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = (group.x + group.y * groups.x) * THREADS;
  if (first >= p.N) { return; }
  let token = first + thread;
  let key = order_key(redundancy[min(token, p.N - 1u)]);
  var place = 0u;
  for (var base = 0u; base < p.N; base += THREADS) {
    workgroupBarrier(); // the keys of the block before are still being read
    if (base + thread < p.N) { keys[thread] = order_key(redundancy[base + thread]); }
    workgroupBarrier();
    for (var i = 0u; i < min(THREADS, p.N - base); i++) {
      place += u32(keys[i] > key || (keys[i] == key && base + i < token));
    }
  }
  if (token >= p.N) { return; }
  let sources = p.N - p.M;
  let is_destination = place >= sources;
  if (is_destination) { destinations[place - sources] = token; }
  assignment[token] = select(0xffffffffu, place - sources, is_destination);
}
