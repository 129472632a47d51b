// Copies new keys and values into the cache from row `at` on, one invocation per 32 bits of both: one f32 or two f16.

override THREADS: u32 = 64;
override PER_WORD: u32 = 1u; // numbers in 32 bits of k and v: f32, or 2 of f16

struct Params {
  words: u32, // A * new_rows * width
  block: u32, // new_rows * width
  width: u32, // words of a row of k
  capacity: u32,
  at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k_new: array<u32>; // bits of f32 [A, new_rows, numbers of a row]
@group(0) @binding(2) var<storage, read> v_new: array<u32>;
@group(0) @binding(3) var<storage, read_write> k: array<u32>; // [A, capacity, width]
@group(0) @binding(4) var<storage, read_write> v: array<u32>; // [A, capacity, width]

// The f16 nearest to an f32, ties to even. In integers: WGSL leaves the rounding of pack2x16float open.
fn half_of(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size >= 0x47800000u) { // 2^16, or no number
    return sign | select(0x7c00u, 0x7e00u, size > 0x7f800000u);
  }
  if (size >= 0x38800000u) { // 2^-14
    return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u);
  }
  // A subnormal, in steps of 2^-24: shifted out by 25 bits, whatever is too small is 0.
  let shift = min(126u - (size >> 23u), 25u);
  let fraction = (size & 0x7fffffu) | 0x800000u;
  return sign | ((fraction + (1u << (shift - 1u)) - 1u + ((fraction >> shift) & 1u)) >> shift);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = (group.x + group.y * groups.x) * THREADS + thread;
  if (word >= params.words) {
    return;
  }
  let outer = word / params.block;
  let to = (outer * params.capacity + params.at) * params.width + word % params.block;
  if (PER_WORD == 2u) {
    k[to] = half_of(k_new[2u * word]) | (half_of(k_new[2u * word + 1u]) << 16u);
    v[to] = half_of(v_new[2u * word]) | (half_of(v_new[2u * word + 1u]) << 16u);
  } else {
    k[to] = k_new[word];
    v[to] = v_new[word];
  }
}
