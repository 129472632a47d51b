// Out of place: row keep[i] of k and v becomes row i of kOut and vOut. An invocation moves a column of four rows: one division for all of them,
// and eight loads at once. A row is of `width` items: vec4 of words where it is made of whole ones, else words, each an f32 or two f16;
// `alias Item = ...;` comes in front.
#include "element.wgsl"
struct Params {
  A: u32,
  S: u32,
  R: u32,
  U: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> k: array<Item>; // [A, S, width]
@group(0) @binding(2) var<storage, read> v: array<Item>; // [A, S, width]
@group(0) @binding(3) var<storage, read> keep: array<u32>; // [R] ascending
@group(0) @binding(4) var<storage, read_write> kOut: array<Item>; // [A, U, width]
@group(0) @binding(5) var<storage, read_write> vOut: array<Item>; // [A, U, width]
const ROWS = 4u;

fn element(item: u32) {
  let blocks = (p.R + ROWS - 1u) / ROWS;
  if (item >= p.A * blocks * p.width) { return; }
  let block = item / p.width;
  let column = item - block * p.width;
  let outer = block / blocks;
  let first = (block - outer * blocks) * ROWS;
  // Past the last row it is moved again, to where it belongs.
  let row = min(first + vec4(0u, 1u, 2u, 3u), vec4(p.R - 1u));
  let from_rows = vec4(keep[row.x], keep[row.y], keep[row.z], keep[row.w]);
  let source = (outer * p.S + from_rows) * p.width + column;
  let keys = array(k[source.x], k[source.y], k[source.z], k[source.w]);
  let values = array(v[source.x], v[source.y], v[source.z], v[source.w]);
  let destination = (outer * p.U + row) * p.width + column;
  kOut[destination.x] = keys[0];
  kOut[destination.y] = keys[1];
  kOut[destination.z] = keys[2];
  kOut[destination.w] = keys[3];
  vOut[destination.x] = values[0];
  vOut[destination.y] = values[1];
  vOut[destination.z] = values[2];
  vOut[destination.w] = values[3];
}
