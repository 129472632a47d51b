import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import kernel from '../../kernels/norm.wgsl';
import * as field from '../backend/fields.ts';
import { defineOp, input, output } from '../backend/op.ts';
import { normalize } from './norm.ts';

const definition = /* @__PURE__ */ defineOp<{ eps: number }>()({
  name: 'rms_norm',
  attrs: { eps: field.f32({ min: 0 }) },
  io: { x: input('T', 'D'), weight: input('D'), y: output('T', 'D') },
  cost: ({ T, D }) => ({ flops: 4 * T * D, bytes: 4 * (2 * T * D + D) }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, weight, y }, { T, D }, { eps }) => {
  for (let at = 0; at < T * D; at += D) normalize(y.subarray(at, at + D), x.subarray(at, at + D), 'rms', eps, weight);
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, weight, y }, { T, D }, { eps }) => {
  kernels.normalize_rows(x, y, T, D, 0, eps, weight, 0);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, weight, y }, { T, D }, { eps }) => {
  gpu.dispatch(kernel, [x, weight, undefined, y], { T, D, layer: false, hasWeight: true, hasBias: false, eps }, [T]);
};

/** `y = x / sqrt(mean(x^2) + eps) * weight`, row by row. x, y [T, D]; weight [D]. (RMSNorm, arXiv 1910.07467) */
export const rmsNorm: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const rmsNormOnWasm: Op<typeof definition> = { definition, wasm };
export const rmsNormOnWebGpu: Op<typeof definition> = { definition, webgpu };
