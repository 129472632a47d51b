// Out of place: row keep[i] of k and v becomes row i of k_out and v_out, one invocation per word: an f32 or two f16.

override THREADS: u32 = 64;

struct Params {
  words: u32, // A * kept * width
  kept: u32,
  width: u32, // words of a row
  rows: u32,
  out_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k: array<u32>; // [A, rows, width]
@group(0) @binding(2) var<storage, read> v: array<u32>; // [A, rows, width]
@group(0) @binding(3) var<storage, read> keep: array<u32>; // [kept] ascending
@group(0) @binding(4) var<storage, read_write> k_out: array<u32>; // [A, out_rows, width], kept <= out_rows
@group(0) @binding(5) var<storage, read_write> v_out: array<u32>; // [A, out_rows, width]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = (group.x + group.y * groups.x) * THREADS + thread;
  if (word >= params.words) {
    return;
  }
  let column = word % params.width;
  let i = word / params.width % params.kept;
  let outer = word / params.width / params.kept;
  let source = (outer * params.rows + keep[i]) * params.width + column;
  let destination = (outer * params.out_rows + i) * params.width + column;
  k_out[destination] = k[source];
  v_out[destination] = v[source];
}
