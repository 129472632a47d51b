// In place: row keep[i] of k and v becomes row i, one invocation per column of [A, width]. Nothing else touches that column, and
// keep[i] >= i ascends, so a row is read before it is overwritten: no scratch, no barrier. Four rows are read before
// four are written, which hides the latency of loads that depend on nothing: keep[i + 4] > i + 3, so the next reads are safe.

override THREADS: u32 = 64;

struct Params {
  columns: u32, // A * width
  kept: u32,
  width: u32, // words of a row: f32, or two f16 each
  rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> k: array<u32>; // [A, rows, width]
@group(0) @binding(2) var<storage, read_write> v: array<u32>; // [A, rows, width]
@group(0) @binding(3) var<storage, read> keep: array<u32>; // [kept] ascending

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let column = (group.x + group.y * groups.x) * THREADS + thread;
  if (column >= params.columns) {
    return;
  }
  let width = params.width;
  let start = column / width * params.rows * width + column % width;
  var i = 0u;
  for (; i + 4u <= params.kept; i += 4u) {
    let source = start + vec4(keep[i], keep[i + 1u], keep[i + 2u], keep[i + 3u]) * width;
    let keys = vec4(k[source.x], k[source.y], k[source.z], k[source.w]);
    let values = vec4(v[source.x], v[source.y], v[source.z], v[source.w]);
    let destination = start + vec4(i, i + 1u, i + 2u, i + 3u) * width;
    k[destination.x] = keys.x;
    k[destination.y] = keys.y;
    k[destination.z] = keys.z;
    k[destination.w] = keys.w;
    v[destination.x] = values.x;
    v[destination.y] = values.y;
    v[destination.z] = values.z;
    v[destination.w] = values.w;
  }
  for (; i < params.kept; i++) {
    let source = start + keep[i] * width;
    let destination = start + i * width;
    k[destination] = k[source];
    v[destination] = v[source];
  }
}
