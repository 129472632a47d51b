/** The WebGPU backend, and what chooses the shapes of its kernels. */
export { createWebGpuBackend, type DeviceOptions, type GpuDeviceLike, type GpuLike, type Shapes } from './backend/webgpu/driver.ts';
export { type Tuning, tuneWebGpu } from './ops/product/tune-webgpu.ts';
