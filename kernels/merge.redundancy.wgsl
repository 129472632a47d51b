// The sum of a token's cosines with all tokens, one workgroup per token. Its own cosine, 1, is left in: it changes no order,
// and taking it away would round small differences off.

override THREADS: u32 = 64; // invocations, a power of two

struct Params {
  tokens: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [tokens, width]
@group(0) @binding(2) var<storage, read> total: array<f32>; // [width]
@group(0) @binding(3) var<storage, read_write> redundancy: array<f32>; // [tokens]

var<workgroup> sums: array<f32, THREADS>;

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
  var sum = 0.0;
  for (var c = thread; c < params.width; c += THREADS) {
    sum += unit[token * params.width + c] * total[c];
  }
  sums[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      sums[thread] += sums[thread + step];
    }
  }
  if (thread == 0u) {
    redundancy[token] = sums[0];
  }
}
