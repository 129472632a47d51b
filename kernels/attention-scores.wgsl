// Sum or mean over heads of the softmax probabilities, one invocation per key. Heads are added in ascending order: the same
// input gives the same bits.

override THREADS: u32 = 64;

struct Params {
  heads: u32,
  keys: u32,
  causal: u32,
  q_position: u32,
  mean: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [heads, keys + 2]: logits, peak, total
@group(0) @binding(2) var<storage, read> k_positions: array<u32>; // [keys]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [keys]

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let key = (group.x + group.y * groups.x) * THREADS + thread;
  if (key >= params.keys) {
    return;
  }
  var sum = 0.0;
  if (params.causal == 0u || k_positions[key] <= params.q_position) {
    for (var head = 0u; head < params.heads; head++) {
      let row = head * (params.keys + 2u);
      let peak = logits[row + params.keys];
      let total = logits[row + params.keys + 1u];
      sum += exp(logits[row + key] - peak) / total;
    }
    if (params.mean != 0u) {
      sum /= f32(params.heads);
    }
  }
  scores[key] = sum;
}
