// The index of the largest value of each row, one workgroup per row; equal values: the lowest index; NaN never wins.
//
// Values are compared as integers whose order is that of the floats: a shader compiler may assume that no float is NaN.

override THREADS: u32 = 256; // invocations, a power of two

struct Params {
  rows: u32,
  width: u32, // at least 1
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [rows, width], bits of f32
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [rows]

var<workgroup> keys: array<u32, THREADS>;
var<workgroup> indices: array<u32, THREADS>;

// Ascends with the float of these bits. -0 is 0; NaN is -infinity, so it exceeds nothing.
fn order_key(bits: u32) -> u32 {
  let magnitude = min(bits & 0x7fffffffu, 0x7f800000u);
  let negative = bits != magnitude; // the sign is set, or it is NaN
  return select(0x80000000u + magnitude, 0x80000000u - magnitude, negative);
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
  var best = 0u; // below every key
  var index = 0u;
  for (var i = thread; i < params.width; i += THREADS) {
    let key = order_key(x[row * params.width + i]);
    if (key > best) {
      best = key;
      index = i;
    }
  }
  keys[thread] = best;
  indices[thread] = index;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      let other = thread + step;
      if (keys[other] > keys[thread] || (keys[other] == keys[thread] && indices[other] < indices[thread])) {
        keys[thread] = keys[other];
        indices[thread] = indices[other];
      }
    }
  }
  if (thread == 0u) {
    ids[row] = indices[0];
  }
}
