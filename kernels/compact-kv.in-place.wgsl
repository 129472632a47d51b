// In place: row keep[i] of k and v becomes row i, one invocation per column of [A, width]. Nothing else touches that column, and
// keep[i] >= i ascends, so a row is read before it is overwritten: no scratch, no barrier. Four rows are read before four are written, which
// hides the latency of loads that depend on nothing: keep[i + 4] > i + 3, so the next reads are safe.
// A row is of `width` items: vec4 of words where it is made of whole ones, else words; `alias Item = ...;` comes in front.
#include "element.wgsl"
struct Params {
  A: u32,
  S: u32,
  R: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> k: array<Item>; // [A, S, width]
@group(0) @binding(2) var<storage, read_write> v: array<Item>; // [A, S, width]
@group(0) @binding(3) var<storage, read> keep: array<u32>; // [R] ascending

fn element(column: u32) {
  let width = p.width;
  if (column >= p.A * width) { return; }
  let start = column / width * p.S * width + column % width;
  for (var first = 0u; first < p.R; first += 4u) {
    // Past the last row it is moved again, to where it belongs.
    let row = min(first + vec4(0u, 1u, 2u, 3u), vec4(p.R - 1u));
    let source = start + vec4(keep[row.x], keep[row.y], keep[row.z], keep[row.w]) * width;
    let keys = array(k[source.x], k[source.y], k[source.z], k[source.w]);
    let values = array(v[source.x], v[source.y], v[source.z], v[source.w]);
    let destination = start + row * width;
    k[destination.x] = keys[0];
    k[destination.y] = keys[1];
    k[destination.z] = keys[2];
    k[destination.w] = keys[3];
    v[destination.x] = values[0];
    v[destination.y] = values[1];
    v[destination.z] = values[2];
    v[destination.w] = values[3];
  }
}
