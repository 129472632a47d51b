import type { Constants, GpuContext, GpuOperand, Shapes } from './binding.ts';
import type { GpuKernel } from './kernel.ts';

/** What tuning may do with a backend: time work under constants of its choice, and have those kept that it settles on. */
export interface GpuBench {
  readonly vendor: GpuContext['vendor'];
  /** Compiles beside other work. Rejects where the device refuses the kernel; no later call reports that. */
  prepare(kernel: GpuKernel, constants: Constants): Promise<void>;
  allocate(bytes: number): GpuOperand;
  free(operand: GpuOperand): void;
  write(operand: GpuOperand, data: Float32Array): void;
  /** Records one call under these constants. */
  run(shapes: Shapes, work: (gpu: GpuContext) => void): void;
  read(operand: GpuOperand, bytes: number): Promise<ArrayBuffer>;
  /** Rejects when the device is lost before. */
  orLost<T>(work: Promise<T>): Promise<T>;
  /** From now on ops take these. */
  keep(shapes: Shapes): void;
}
