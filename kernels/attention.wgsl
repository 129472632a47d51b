// Softmax attention for a tile of query rows of one head with an online softmax: no row of logits is ever stored.
//
// 64 invocations are 8 rows x 8 lanes. A block of 32 keys passes through workgroup memory, 64 columns at a time, first K, then
// V. A lane owns 4 keys of the block while logits are computed and every eighth column while values are added up.
// An invisible key weighs 0 and is skipped by a branch, never multiplied, so that infinity in its value row stays out.

// Shapes of register arrays, and of the tiles that belong to them: WGSL cannot size a function's array by an override.
const ROWS = 8u;
const LANES = 8u;
const KEYS = 32u; // LANES * 4
const CHUNK = 64u; // columns in workgroup memory at a time: LANES * 8, and the number of invocations
const PITCH = 65u; // odd, so that lanes reading different rows hit different banks
const WEIGHT_PITCH = 33u;
const COLUMNS = 256u; // of o per workgroup: 4 chunks in registers
const MASKED = -1e30; // no infinity in WGSL

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  head_dim: u32,
  keys: u32,
  causal: u32,
  hidden_count: u32,
  has_bias: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [rows, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [C, kv_heads, head_dim], C >= keys
@group(0) @binding(3) var<storage, read> v: array<f32>; // [C, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read> q_positions: array<u32>; // [rows] ascending
@group(0) @binding(5) var<storage, read> k_positions: array<u32>; // [keys] ascending
@group(0) @binding(6) var<storage, read> key_bias: array<f32>; // [keys] if has_bias
@group(0) @binding(7) var<storage, read> hidden: array<u32>; // [hidden_count, 3]: start, end, from
@group(0) @binding(8) var<storage, read_write> o: array<f32>; // [rows, heads, head_dim]

var<workgroup> query: array<f32, ROWS * PITCH>; // [ROWS, CHUNK] of q
var<workgroup> tile: array<f32, KEYS * PITCH>; // [KEYS, CHUNK] of k or v
var<workgroup> weights: array<f32, ROWS * WEIGHT_PITCH>; // [ROWS, KEYS]
var<workgroup> lanes: array<vec2<f32>, ROWS * LANES>; // what lanes of a row exchange

// Keys a query at `position` may look at: positions ascend, so they are the first ones.
fn visible_prefix(position: u32) -> u32 {
  if (params.causal == 0u) {
    return params.keys;
  }
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

fn is_visible(q_position: u32, k_position: u32) -> bool {
  if (params.causal != 0u && k_position > q_position) {
    return false;
  }
  for (var i = 0u; i < params.hidden_count; i++) {
    if (hidden[3u * i] <= k_position && k_position < hidden[3u * i + 1u] && q_position >= hidden[3u * i + 2u]) {
      return false;
    }
  }
  return true;
}

@compute @workgroup_size(ROWS * LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let tiles = (params.rows + ROWS - 1u) / ROWS;
  let column_groups = (params.head_dim + COLUMNS - 1u) / COLUMNS;
  let flat = group.x + group.y * groups.x;
  if (flat >= tiles * params.heads * column_groups) {
    return;
  }
  let first_row = flat % tiles * ROWS;
  let head = flat / tiles % params.heads;
  let first_column = flat / tiles / params.heads * COLUMNS;
  let kv_head = head / (params.heads / params.kv_heads);
  let head_dim = params.head_dim;

  let row = index / LANES;
  let lane = index % LANES;
  let row_exists = first_row + row < params.rows;
  let q_position = q_positions[min(first_row + row, params.rows - 1u)];
  let limit = visible_prefix(q_positions[min(first_row + ROWS, params.rows) - 1u]);

  var sums: array<vec4<f32>, 8>; // columns first_column + lane + LANES * (0 .. 31)
  var peak = MASKED;
  var total = 0.0; // of this lane's keys
  var seen = 0u;
  for (var base = 0u; base < limit; base += KEYS) {
    let block = min(KEYS, limit - base);

    var dots = vec4<f32>(); // keys base + lane + LANES * (0 .. 3)
    for (var column = 0u; column < head_dim; column += CHUNK) {
      let width = min(CHUNK, head_dim - column);
      workgroupBarrier(); // the tiles are still being read
      if (index < width) {
        for (var r = 0u; r < min(ROWS, params.rows - first_row); r++) {
          query[r * PITCH + index] = q[((first_row + r) * params.heads + head) * head_dim + column + index];
        }
        for (var r = 0u; r < block; r++) {
          tile[r * PITCH + index] = k[((base + r) * params.kv_heads + kv_head) * head_dim + column + index];
        }
      }
      workgroupBarrier();
      let keys_at = lane * PITCH;
      for (var c = 0u; c < width; c++) {
        let at = keys_at + c;
        let keys = vec4(tile[at], tile[at + LANES * PITCH], tile[at + 2u * LANES * PITCH], tile[at + 3u * LANES * PITCH]);
        dots += query[row * PITCH + c] * keys;
      }
    }

    var visible = 0u; // a bit per key
    var logits = vec4(MASKED);
    for (var i = 0u; i < 4u; i++) {
      let key = base + lane + LANES * i;
      if (row_exists && key < limit) {
        if (is_visible(q_position, k_positions[key])) {
          visible |= 1u << i;
          var logit = params.scale * dots[i];
          if (params.has_bias != 0u) {
            logit += key_bias[key];
          }
          logits[i] = logit;
        }
      }
    }
    lanes[index].x = max(max(logits.x, logits.y), max(logits.z, logits.w));
    workgroupBarrier();
    var new_peak = peak;
    for (var i = 0u; i < LANES; i++) {
      new_peak = max(new_peak, lanes[row * LANES + i].x);
    }
    let shrink = exp(peak - new_peak);
    peak = new_peak;
    total *= shrink;
    for (var i = 0u; i < 4u; i++) {
      var weight = 0.0;
      if ((visible & (1u << i)) != 0u) {
        weight = exp(logits[i] - peak);
        total += weight;
        seen++;
      }
      weights[row * WEIGHT_PITCH + lane + LANES * i] = weight;
    }

    for (var chunk = 0u; chunk < COLUMNS / CHUNK; chunk++) {
      let column = first_column + chunk * CHUNK;
      if (column >= head_dim) {
        break;
      }
      workgroupBarrier(); // the weights are there; the tile is still being read
      if (column + index < head_dim) {
        for (var r = 0u; r < block; r++) {
          tile[r * PITCH + index] = v[((base + r) * params.kv_heads + kv_head) * head_dim + column + index];
        }
      }
      workgroupBarrier();
      var low = vec4<f32>();
      var high = vec4<f32>();
      for (var j = 0u; j < block; j++) {
        let weight = weights[row * WEIGHT_PITCH + j];
        if (weight != 0.0) {
          let at = j * PITCH + lane;
          low += weight * vec4(tile[at], tile[at + 8u], tile[at + 16u], tile[at + 24u]);
          high += weight * vec4(tile[at + 32u], tile[at + 40u], tile[at + 48u], tile[at + 56u]);
        }
      }
      sums[2u * chunk] = sums[2u * chunk] * shrink + low;
      sums[2u * chunk + 1u] = sums[2u * chunk + 1u] * shrink + high;
    }
  }

  workgroupBarrier();
  lanes[index] = vec2(total, f32(seen));
  workgroupBarrier();
  var row_total = vec2<f32>();
  for (var i = 0u; i < LANES; i++) {
    row_total += lanes[row * LANES + i];
  }
  if (!row_exists) {
    return;
  }
  let start = ((first_row + row) * params.heads + head) * head_dim;
  for (var i = 0u; i < COLUMNS / LANES; i++) {
    let column = first_column + lane + LANES * i;
    if (column < head_dim) {
      var value = 0.0; // of a query that sees no key
      if (row_total.y > 0.0) {
        value = sums[i / 4u][i % 4u] / row_total.x;
      }
      o[start + column] = value;
    }
  }
}
