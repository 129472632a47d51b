import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import kernel from '../../kernels/norm.wgsl';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, output } from '../backend/op.ts';
import { normalize } from './norm.ts';

const definition = /* @__PURE__ */ defineOp<{ eps: number }>()({
  name: 'layer_norm',
  attrs: { eps: field.f32({ min: 0 }) },
  io: { x: input('T', 'D'), weight: input('D'), bias: optional(input('D')), y: output('T', 'D') },
  cost: ({ T, D }) => ({ flops: 7 * T * D, bytes: 4 * (2 * T * D + 2 * D) }),
});

const reference: ReferenceBinding<typeof definition> = ({ x, weight, bias, y }, { T, D }, { eps }) => {
  for (let at = 0; at < T * D; at += D) normalize(y.subarray(at, at + D), x.subarray(at, at + D), 'layer', eps, weight, bias);
};

const wasm: WasmBinding<typeof definition> = ({ kernels }, { x, weight, bias, y }, { T, D }, { eps }) => {
  kernels.normalize_rows(x, y, T, D, 1, eps, weight, bias);
};

const webgpu: GpuBinding<typeof definition> = (gpu, { x, weight, bias, y }, { T, D }, { eps }) => {
  gpu.dispatch(kernel, [x, weight, bias, y], { T, D, layer: true, hasWeight: true, hasBias: !!bias, eps }, [T]);
};

/** `y = (x - mean) / sqrt(var + eps) * weight + bias`, population variance. x, y [T, D]; weight, bias [D]. (arXiv 1607.06450) */
export const layerNorm: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const layerNormOnWasm: Op<typeof definition> = { definition, wasm };
export const layerNormOnWebGpu: Op<typeof definition> = { definition, webgpu };
