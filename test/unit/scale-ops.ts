/** Ops that multiply by a factor, for tests of the WebGPU driver: right ones, a refused one, and one that throws. */
import * as field from '../../src/backend/fields.ts';
import { defineOp, input, output } from '../../src/backend/op.ts';
import type { GpuBinding } from '../../src/backend/webgpu/binding.ts';
import type { GpuKernel } from '../../src/backend/webgpu/kernel.ts';

const scaleCode = `
struct Params { n: u32, factor: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n]
override THREADS: u32 = 64;
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let i = (g.x + g.y * n.x) * THREADS + t;
  if (i < p.n) { y[i] = x[i] * p.factor; }
}`;
export const scaleKernel: GpuKernel = { name: 'test-scale', pieces: [scaleCode] };
function definitionOf(name: string) {
  const io = { x: input('n'), y: output('n') };
  return defineOp<{ factor: number }>()({ name, attrs: { factor: field.number() }, io, cost: () => ({ flops: 0, bytes: 0 }) });
}
type ScaleBinding = GpuBinding<ReturnType<typeof definitionOf>>;

export function scaleOp(name: string, webgpu: ScaleBinding) {
  return { definition: definitionOf(name), webgpu };
}
export const scaleWith =
  (kernel: GpuKernel, threads = 64): ScaleBinding =>
  (gpu, { x, y }, { n }, { factor }) =>
    gpu.dispatch(kernel, [x, y], { n, factor }, [Math.ceil(n / threads)], { THREADS: threads });
export const scale = scaleOp('test_scale', scaleWith(scaleKernel));
/** Through a scratch buffer and an uploaded one. */
export const scaleTwice = scaleOp('test_scale_twice', (gpu, { x, y }, { n }, { factor }) => {
  const between = gpu.scratch(n * 4);
  gpu.dispatch(scaleKernel, [x, between], { n, factor }, [Math.ceil(n / 64)]);
  gpu.dispatch(scaleKernel, [gpu.upload(Float32Array.of(7)), gpu.scratch(4)], { n: 1, factor: 1 }, [1]);
  gpu.dispatch(scaleKernel, [between, y], { n, factor }, [Math.ceil(n / 64)]);
});
export const broken = scaleOp(
  'test_broken',
  scaleWith({ name: 'test-broken', pieces: [scaleCode.replace('x[i] * p.factor', 'x[i] * p.nothing')] }),
);
export const halfway = scaleOp('test_halfway', (gpu, { x, y }, { n }) => {
  gpu.dispatch(scaleKernel, [x, y], { n, factor: 99 }, [Math.ceil(n / 64)]);
  throw new Error('in the middle');
});

export const data = Float32Array.from({ length: 1000 }, (_, i) => i - 500);
export const times = (factor: number) => Array.from(data, (value) => value * factor);
