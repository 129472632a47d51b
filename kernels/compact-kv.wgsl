// Out of place: row keep[i] of k and v becomes row i of k_out and v_out. An invocation moves a column of four rows: one division for all of
// them, and eight loads at once. Columns are of items: a vec4 of words where rows are made of whole ones, else a word, which is an f32 or
// two f16; `alias Item = ...;` comes in front.

override THREADS: u32 = 64;
const ROWS = 4u;

struct Params {
  items: u32, // A * blocks * width
  blocks: u32, // of ROWS kept rows
  kept: u32,
  width: u32, // items of a row
  rows: u32,
  out_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k: array<Item>; // [A, rows, width]
@group(0) @binding(2) var<storage, read> v: array<Item>; // [A, rows, width]
@group(0) @binding(3) var<storage, read> keep: array<u32>; // [kept] ascending
@group(0) @binding(4) var<storage, read_write> k_out: array<Item>; // [A, out_rows, width], kept <= out_rows
@group(0) @binding(5) var<storage, read_write> v_out: array<Item>; // [A, out_rows, width]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let item = (group.x + group.y * groups.x) * THREADS + thread;
  if (item >= params.items) {
    return;
  }
  let block = item / params.width;
  let column = item - block * params.width;
  let outer = block / params.blocks;
  let first = (block - outer * params.blocks) * ROWS;
  // Past the last row it is moved again, to where it belongs.
  let row = min(first + vec4(0u, 1u, 2u, 3u), vec4(params.kept - 1u));
  let kept = vec4(keep[row.x], keep[row.y], keep[row.z], keep[row.w]);
  let source = (outer * params.rows + kept) * params.width + column;
  let keys = array(k[source.x], k[source.y], k[source.z], k[source.w]);
  let values = array(v[source.x], v[source.y], v[source.z], v[source.w]);
  let destination = (outer * params.out_rows + row) * params.width + column;
  k_out[destination.x] = keys[0];
  k_out[destination.y] = keys[1];
  k_out[destination.z] = keys[2];
  k_out[destination.w] = keys[3];
  v_out[destination.x] = values[0];
  v_out[destination.y] = values[1];
  v_out[destination.z] = values[2];
  v_out[destination.w] = values[3];
}
