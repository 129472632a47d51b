// What the attention kernels by tiles share; put in front of them. They declare `params`, `k_positions` and `hidden`.
// A tile of queries is one of pairs of a query row and a head, of the heads that share a key/value head: pair i is row i / group and
// head i % group of them. So every key is read for as many queries as there are, and few keys beyond the diagonal are.

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  head_dim: u32, // a multiple of 4
  keys: u32,
  causal: u32,
  hidden_count: u32,
  has_bias: u32,
  scale: f32,
  start: u32, // query rows [start, start + count) are those of this dispatch
  count: u32,
}

override PER_WORD: u32 = 1u; // numbers in 32 bits of k and v: f32, or 2 of f16 and head_dim is a multiple of 8
const LOW = -1e30; // below every logit that counts; no infinity in WGSL
const MASKED = -3e38; // the logit of an invisible key, below LOW

// Positions ascend, so keys up to one are the first ones.
fn keys_up_to(position: u32) -> u32 {
  var low = 0u;
  var high = params.keys;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (k_positions[middle] <= position) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return low;
}

// Keys a query at `position` may look at, but for hidden ones.
fn visible_prefix(position: u32) -> u32 {
  if (params.causal == 0u) {
    return params.keys;
  }
  return keys_up_to(position);
}

// Which of four queries see a key.
fn are_visible(positions: vec4<u32>, key: u32) -> vec4<bool> {
  let position = k_positions[key];
  var visible = vec4(position) <= select(vec4(0xffffffffu), positions, params.causal != 0u);
  for (var i = 0u; i < params.hidden_count; i++) {
    let inside = hidden[3u * i] <= position && position < hidden[3u * i + 1u];
    visible &= vec4(!inside) | (positions < vec4(hidden[3u * i + 2u]));
  }
  return visible;
}

// Numbers 4 at to 4 at + 3 of an array, given the words that they are in.
fn numbers(words: vec4<u32>, at: u32) -> vec4<f32> {
  let two = select(words.xy, words.zw, at % 2u == 1u);
  return select(bitcast<vec4<f32>>(words), vec4(unpack2x16float(two.x), unpack2x16float(two.y)), PER_WORD == 2u);
}

fn max4(x: vec4<f32>) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}
