// y = (x - mean) / sqrt(variance + eps) * weight + bias, one workgroup per row.
//
// Two passes over the row: sums of squares minus squared mean would cancel when the mean is large. The second pass also sums
// the deviations themselves; they would add up to 0 if the mean were exact, so their sum corrects both results.

override THREADS: u32 = 64; // invocations, a power of two

struct Params {
  rows: u32,
  width: u32,
  has_bias: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, width]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [width]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [width] if has_bias
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, width]

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
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) {
    return;
  }
  let start = row * params.width;
  let count = f32(params.width);

  var sum = 0.0;
  for (var i = thread; i < params.width; i += THREADS) {
    sum += x[start + i];
  }
  let estimate = sum_over_workgroup(vec2(sum, 0.0), thread).x / count;

  var moments = vec2<f32>();
  for (var i = thread; i < params.width; i += THREADS) {
    let deviation = x[start + i] - estimate;
    moments += vec2(deviation, deviation * deviation);
  }
  moments = sum_over_workgroup(moments, thread) / count;
  let correction = moments.x;
  let variance = max(moments.y - correction * correction, 0.0);
  let scale = 1.0 / sqrt(variance + params.eps);

  for (var i = thread; i < params.width; i += THREADS) {
    var value = (x[start + i] - estimate - correction) * scale * weight[i];
    if (params.has_bias != 0u) {
      value += bias[i];
    }
    y[start + i] = value;
  }
}
