// Sorts tokens by descending redundancy, ties by token: a token's place is the number of tokens before it. The last `kept`
// places are the destinations.

override THREADS: u32 = 64;

struct Params {
  tokens: u32,
  kept: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> redundancy: array<u32>; // [tokens], bits of f32
@group(0) @binding(2) var<storage, read_write> destinations: array<u32>; // [kept]
@group(0) @binding(3) var<storage, read_write> assignment: array<u32>; // [tokens], 0xffffffff for a source

var<workgroup> keys: array<u32, THREADS>;

// Ascends with the float of these bits. -0 is 0; NaN is -infinity. Integers, so that places stay distinct whatever the input.
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
  let first = (group.x + group.y * groups.x) * THREADS;
  if (first >= params.tokens) {
    return;
  }
  let token = first + thread;
  let key = order_key(redundancy[min(token, params.tokens - 1u)]);
  var place = 0u;
  for (var base = 0u; base < params.tokens; base += THREADS) {
    workgroupBarrier(); // keys is still being read
    if (base + thread < params.tokens) {
      keys[thread] = order_key(redundancy[base + thread]);
    }
    workgroupBarrier();
    let count = min(THREADS, params.tokens - base);
    for (var i = 0u; i < count; i++) {
      place += u32(keys[i] > key || (keys[i] == key && base + i < token));
    }
  }
  if (token < params.tokens) {
    let sources = params.tokens - params.kept;
    if (place >= sources) {
      destinations[place - sources] = token;
      assignment[token] = place - sources;
    } else {
      assignment[token] = 0xffffffffu;
    }
  }
}
