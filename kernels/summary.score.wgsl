// The score of each token: score_weight . LayerNorm(token) + score_bias, one workgroup per token. The statistics are those of
// layer-norm.wgsl.

override THREADS: u32 = 64; // invocations, a power of two

struct Params {
  tokens: u32,
  width: u32,
  has_bias: u32,
  eps: f32,
  score_bias: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read> norm_weight: array<f32>; // [width]
@group(0) @binding(3) var<storage, read> norm_bias: array<f32>; // [width] if has_bias
@group(0) @binding(4) var<storage, read> score_weight: array<f32>; // [width]
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [tokens]

var<workgroup> sums: array<vec2<f32>, THREADS>;

fn sum_over_workgroup(value: vec2<f32>, thread: u32) -> vec2<f32> {
  sums[thread] = value;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      sums[thread] += sums[thread + step];
    }
  }
  workgroupBarrier();
  let total = sums[0];
  workgroupBarrier(); // the next sum may only overwrite it when everyone has read it
  return total;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let token = group.x + group.y * groups.x;
  if (token >= params.tokens) {
    return;
  }
  let start = token * params.width;
  let count = f32(params.width);

  var sum = 0.0;
  for (var i = thread; i < params.width; i += THREADS) {
    sum += tokens[start + i];
  }
  let estimate = sum_over_workgroup(vec2(sum, 0.0), thread).x / count;

  var moments = vec2<f32>();
  for (var i = thread; i < params.width; i += THREADS) {
    let deviation = tokens[start + i] - estimate;
    moments += vec2(deviation, deviation * deviation);
  }
  moments = sum_over_workgroup(moments, thread) / count;
  let correction = moments.x;
  let variance = max(moments.y - correction * correction, 0.0);
  let scale = 1.0 / sqrt(variance + params.eps);

  var score = 0.0;
  for (var i = thread; i < params.width; i += THREADS) {
    var normed = (tokens[start + i] - estimate - correction) * scale * norm_weight[i];
    if (params.has_bias != 0u) {
      normed += norm_bias[i];
    }
    score += normed * score_weight[i];
  }
  score = sum_over_workgroup(vec2(score, 0.0), thread).x;
  if (thread == 0u) {
    scores[token] = score + params.score_bias;
  }
}
