/** Types of the ops and of their parts, for all entries of ops. */
export type {
  AnyDefinition,
  AttrsOf,
  Cost,
  DimsOf,
  IndexKind,
  Io,
  IoOf,
  OpDefinition,
  Operand,
  ReferenceBinding,
  ReferenceIo,
  Signature,
  TensorOperand,
  WeightOperand,
} from '../backend/op.ts';
export type { Op } from '../backend/bound-op.ts';
export type { WasmBinding, WasmContext, WasmIo } from '../backend/wasm/binding.ts';
export type { GpuBinding, GpuContext, GpuIo, GpuParams } from '../backend/webgpu/binding.ts';
export type { GpuKernel } from '../backend/webgpu/kernel.ts';
