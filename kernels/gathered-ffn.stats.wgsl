// What the layer norm of a gathered FFN needs per listed row: (row, mean, 1 / deviation). One workgroup per row; f32 sums,
// the deviation in a second pass over the row.
struct Params {
  R: u32, // listed rows
  D: u32, // width
  quads: u32, // vec4 per row of x
  hasRows: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [T][quads], padding is zero
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [R]
@group(0) @binding(3) var<storage, read_write> stats: array<vec4<u32>>; // [R], floats as bits

override THREADS: u32 = 64; // a power of two
var<workgroup> partial: array<f32, THREADS>;

// Sum over the workgroup. Every thread calls it.
fn total(value: f32, thread: u32) -> f32 {
  partial[thread] = value;
  workgroupBarrier();
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    if (thread < step) { partial[thread] += partial[thread + step]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = group.x + group.y * groups.x;
  if (i >= p.R) { return; }
  var row = i;
  if (p.hasRows != 0u) { row = rows[i]; }
  let start = row * p.quads;
  var sum = 0.0;
  for (var k = thread; k < p.quads; k += THREADS) { sum += dot(x[start + k], vec4(1.0)); }
  let mean = total(sum, thread) / f32(p.D);
  var squares = 0.0;
  for (var k = thread; k < p.quads; k += THREADS) {
    // Padding at the end of a row must not count as a deviation.
    let kept = vec4(4u * k) + vec4(0u, 1u, 2u, 3u) < vec4(p.D);
    let value = select(vec4<f32>(), x[start + k] - mean, kept);
    squares += dot(value, value);
  }
  let scale = 1.0 / sqrt(total(squares, thread) / f32(p.D) + p.eps);
  if (thread == 0u) { stats[i] = vec4(row, bitcast<u32>(mean), bitcast<u32>(scale), 0u); }
}
