// Rotates the pairs of q in place and those of fresh keys on their way into the cache; values go along. One invocation per pair,
// (a, b) -> (a cos - b sin, b cos + a sin). First the pairs of q, then keys, then values. The tables come from the host because WGSL's
// sin and cos are only good to 2^-11.
#include "element.wgsl"
struct Params {
  Q: u32,
  H: u32,
  n: u32, // fresh rows; 0: only q is rotated
  Hkv: u32,
  half: u32, // pairs of a head: dh / 2
  step: u32, // from one pair's first element to the next pair's
  partner: u32, // from a pair's first element to its second
  at: u32, // cache row of the first new row
  hasRows: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>; // [Q, H, dh]
@group(0) @binding(2) var<storage, read> kv: array<f32>; // [n, 2 Hkv, dh], keys before values
@group(0) @binding(3) var<storage, read> cosines: array<f32>; // [n, half]
@group(0) @binding(4) var<storage, read> sines: array<f32>; // [n, half]
@group(0) @binding(5) var<storage, read> rows: array<u32>; // [Q]: their rows in the tables
@group(0) @binding(6) var<storage, read_write> k: array<f32>; // [C, Hkv, dh]
@group(0) @binding(7) var<storage, read_write> v: array<f32>; // [C, Hkv, dh]

fn rotated(a: f32, b: f32, angle: u32) -> vec2<f32> {
  return vec2(a * cosines[angle] - b * sines[angle], b * cosines[angle] + a * sines[angle]);
}

fn element(pair: u32) {
  let half = p.half;
  let dh = 2u * half;
  let q_pairs = p.Q * p.H * half;
  let kv_pairs = p.n * p.Hkv * half;
  let first = pair % half * p.step; // in its head, also below: the counts before a pair are multiples of half
  let second = first + p.partner;
  if (pair < q_pairs) {
    let head = pair / half; // row of q * H + h
    var row = head / p.H;
    if (p.hasRows != 0u) { row = rows[row]; }
    let start = head * dh;
    let turned = rotated(q[start + first], q[start + second], row * half + pair % half);
    q[start + first] = turned.x;
    q[start + second] = turned.y;
    return;
  }
  let fresh = pair - q_pairs;
  let is_key = fresh < kv_pairs;
  let kv_pair = fresh - select(kv_pairs, 0u, is_key);
  if (kv_pair >= kv_pairs) { return; }
  let head = kv_pair / half; // row * Hkv + h
  let row = head / p.Hkv;
  let to = (p.at * p.Hkv + head) * dh;
  let source = (head + (row + select(1u, 0u, is_key)) * p.Hkv) * dh;
  if (is_key) {
    let turned = rotated(kv[source + first], kv[source + second], row * half + kv_pair % half);
    k[to + first] = turned.x;
    k[to + second] = turned.y;
  } else {
    v[to + first] = kv[source + first];
    v[to + second] = kv[source + second];
  }
}
