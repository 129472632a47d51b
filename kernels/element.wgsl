// For kernels whose invocations are independent of each other: they declare element(i), which is called once for every i from 0 on, also for
// some past the last one.
const THREADS = 64u; // ELEMENT_THREADS of src/backend/webgpu/binding.ts

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  element((group.x + group.y * groups.x) * THREADS + thread);
}
