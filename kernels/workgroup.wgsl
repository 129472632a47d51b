// What the invocations of a workgroup find together, by halving. There are THREADS of them, a power of two, which the kernel declares. Every
// invocation calls these, and all get the same answer.

var<workgroup> shared_sums: array<vec2<f32>, THREADS>;
var<workgroup> shared_floats: array<f32, THREADS>;
var<workgroup> shared_keys: array<vec2<u32>, THREADS>;

fn sum_over_workgroup(value: vec2<f32>, thread: u32) -> vec2<f32> {
  shared_sums[thread] = value;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { shared_sums[thread] += shared_sums[thread + step]; }
  }
  return workgroupUniformLoad(&shared_sums[0]);
}

fn max_over_workgroup(value: f32, thread: u32) -> f32 {
  shared_floats[thread] = value;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { shared_floats[thread] = max(shared_floats[thread], shared_floats[thread + step]); }
  }
  return workgroupUniformLoad(&shared_floats[0]);
}

// The largest key, and the lowest of the indices that have it.
fn best_over_workgroup(key: u32, index: u32, thread: u32) -> vec2<u32> {
  shared_keys[thread] = vec2(key, index);
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      let own = shared_keys[thread];
      let other = shared_keys[thread + step];
      if (other.x > own.x || (other.x == own.x && other.y < own.y)) { shared_keys[thread] = other; }
    }
  }
  return workgroupUniformLoad(&shared_keys[0]);
}
