// Joins the slices of attention.row.wgsl, one invocation per element of o.

override THREADS: u32 = 64;
const MASKED = -1e30; // no infinity in WGSL

struct Params {
  elements: u32, // rows * heads * head_dim
  head_dim: u32,
  slices: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [rows, heads, slices, head_dim + 2]: sums, peak, total (-1: no key seen)
@group(0) @binding(2) var<storage, read_write> o: array<f32>; // [rows, heads, head_dim]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let element = (group.x + group.y * groups.x) * THREADS + thread;
  if (element >= params.elements) {
    return;
  }
  let head_dim = params.head_dim;
  let stride = head_dim + 2u;
  let first = element / head_dim * params.slices * stride;
  var peak = MASKED;
  for (var i = 0u; i < params.slices; i++) {
    peak = max(peak, parts[first + i * stride + head_dim]);
  }
  var sum = 0.0;
  var total = 0.0;
  var seen = false;
  for (var i = 0u; i < params.slices; i++) {
    let part = first + i * stride;
    if (parts[part + head_dim + 1u] != -1.0) {
      let share = exp(parts[part + head_dim] - peak);
      sum += share * parts[part + element % head_dim];
      total += share * parts[part + head_dim + 1u];
      seen = true;
    }
  }
  var value = 0.0; // of a query that sees no key
  if (seen) {
    value = sum / total;
  }
  o[element] = value;
}
