// to[i] = from[list[i]] or, without a list, from[i]: rows of 32-bit words, one invocation per word. As u32, as a float load may flush or quiet
// what is no normal number.
#include "element.wgsl"
struct Params {
  rows: u32,
  width: u32, // words of a row
  pitch: u32, // words of a row of `to`: those past `width` become 0
  firstFrom: u32, // word of row 0
  firstTo: u32,
  hasList: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> from_rows: array<u32>; // [T, width]
@group(0) @binding(2) var<storage, read> list: array<u32>; // [rows]
@group(0) @binding(3) var<storage, read_write> to_rows: array<u32>; // [U, pitch]

fn element(word: u32) {
  if (word >= p.rows * p.pitch) { return; }
  var row = word / p.pitch;
  let column = word % p.pitch;
  if (p.hasList != 0u) { row = list[row]; }
  var value = 0u;
  if (column < p.width) { value = from_rows[p.firstFrom + row * p.width + column]; }
  to_rows[p.firstTo + word] = value;
}
