// y = sum of softmax(scores) times the tokens, one invocation per column. Every workgroup finds the largest score by itself:
// tokens are few and a further dispatch costs more.

override THREADS: u32 = 64; // invocations, a power of two

struct Params {
  tokens: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read> scores: array<f32>; // [tokens]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [1, width]

var<workgroup> values: array<f32, THREADS>; // peaks, then the weights of a block of tokens

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = (group.x + group.y * groups.x) * THREADS;
  if (first >= params.width) {
    return;
  }
  var peak = -1e30;
  for (var t = thread; t < params.tokens; t += THREADS) {
    peak = max(peak, scores[t]);
  }
  values[thread] = peak;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      values[thread] = max(values[thread], values[thread + step]);
    }
  }
  workgroupBarrier();
  peak = values[0];

  let column = first + thread;
  var total = 0.0;
  var sum = 0.0;
  for (var base = 0u; base < params.tokens; base += THREADS) {
    workgroupBarrier(); // values is still being read
    if (base + thread < params.tokens) {
      values[thread] = exp(scores[base + thread] - peak);
    }
    workgroupBarrier();
    let count = min(THREADS, params.tokens - base);
    for (var i = 0u; i < count; i++) {
      total += values[i];
      if (column < params.width) {
        sum += values[i] * tokens[(base + i) * params.width + column];
      }
    }
  }
  if (column < params.width) {
    y[column] = select(sum / total, 0.0, params.tokens == 0u);
  }
}
