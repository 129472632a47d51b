import kernel from '../../kernels/patch-embedding.wgsl';
import type { GpuBinding, Op, ReferenceBinding, WasmBinding } from '../backend/bound-op.ts';
import * as field from '../backend/fields.ts';
import { defineOp, input, optional, output, weight } from '../backend/op.ts';
import { isInteger, packedBytes, packRows, product, productScratch, rowBlocks } from './product/wasm.ts';
import { elementGroups } from '../backend/webgpu/binding.ts';
import { product as gpuProduct, quadsOf } from './product/webgpu.ts';
import { dot } from './dot.ts';

export interface PatchEmbeddingAttrs {
  patchSize: number;
}

const definition = /* @__PURE__ */ defineOp<PatchEmbeddingAttrs>()({
  name: 'patch_embedding',
  attrs: { patchSize: field.integer({ min: 1 }) },
  io: {
    pixels: input('channels', 'height', 'width'),
    weight: weight('D', 'K'),
    bias: optional(input('D')),
    classEmbedding: optional(input('D')),
    positionEmbedding: optional(input('P', 'D')),
    y: output('P', 'D'),
  },
  check({ io, dims, attrs: { patchSize }, fail }) {
    const divides = dims.height % patchSize === 0 && dims.width % patchSize === 0;
    if (!divides) fail('patchSize', patchSize, `a divisor of height ${dims.height} and width ${dims.width}`);
    const K = dims.channels * patchSize ** 2;
    if (dims.K !== K) fail('weight', `[${dims.D}, ${dims.K}]`, `[D, ${K}] for ${dims.channels} channels and patches of ${patchSize}`);
    const P = (dims.height / patchSize) * (dims.width / patchSize) + (io.classEmbedding ? 1 : 0);
    if (dims.P !== P) fail('y', `[${dims.P}, ${dims.D}]`, `[${P}, D]`);
  },
  cost: ({ P, D, K }) => ({ flops: 2 * P * D * K, bytes: 4 * (P * K + D * K + 2 * P * D) }),
});

const reference: ReferenceBinding<typeof definition> = (
  { pixels, weight, bias, classEmbedding, positionEmbedding, y },
  { height, width, D, P, K },
  { patchSize },
) => {
  const columns = width / patchSize;
  const first = classEmbedding ? 1 : 0;
  const patch = new Float32Array(K);
  for (let p = 0; p < P; p++) {
    if (p >= first) {
      const top = Math.floor((p - first) / columns) * patchSize;
      const left = ((p - first) % columns) * patchSize;
      // Channel by channel, in the order of a flattened convolution kernel.
      for (let k = 0; k < K; k++) {
        const line = Math.floor(k / patchSize); // of all channels
        const row = Math.floor(line / patchSize) * height + top + (line % patchSize);
        patch[k] = pixels[row * width + left + (k % patchSize)]!;
      }
    }
    for (let d = 0; d < D; d++) {
      let sum = positionEmbedding ? positionEmbedding[p * D + d]! : 0;
      if (p < first) sum += classEmbedding![d]!;
      else sum += (bias ? bias[d]! : 0) + dot(patch, 0, weight[0]!, d * K, K);
      y[p * D + d] = sum;
    }
  }
};

const wasm: WasmBinding<typeof definition> = (wasm, io, { channels, height, width, D, P, K }, { patchSize }) => {
  const { kernels, group } = wasm;
  const { weight } = io;
  const first = io.classEmbedding ? 1 : 0;
  const scratch = productScratch(wasm, weight, P - first, K);
  const quantized = isInteger(weight);
  const patches = quantized ? wasm.scratch(packedBytes(P - first, K * 4)) : scratch.a;
  kernels.start_patch_rows_f32(io.y, io.positionEmbedding, io.classEmbedding, P, D);
  for (const block of rowBlocks(P - first)) {
    // Groups of one row are plain rows.
    kernels.pack_patches_f32(patches, io.pixels, block.first, block.count, quantized ? 1 : group, channels, height, width, patchSize);
    if (quantized) packRows(wasm, { ...scratch, weight, x: patches, list: 0, count: block.count, K });
    product(wasm, {
      ...scratch,
      rows: block.count,
      K,
      weight,
      N: D,
      y: io.y + (first + block.first) * D * 4,
      outRows: 0,
      bias: io.bias,
      activation: 0,
      accumulate: io.positionEmbedding > 0,
      rowGate: 0,
    });
  }
};

const webgpu: GpuBinding<typeof definition> = (gpu, io, { channels, height, width, D, P, K }, { patchSize }) => {
  const first = io.classEmbedding ? 1 : 0;
  const quads = (P - first) * quadsOf(K);
  const patches = gpu.scratch(quads * 16);
  const operands = [io.pixels, io.bias, io.classEmbedding, io.positionEmbedding, patches, io.y];
  const flags = { hasBias: !!io.bias, hasPositions: !!io.positionEmbedding };
  gpu.dispatch(kernel, operands, { P, D, first, channels, height, width, patchSize, ...flags }, elementGroups(Math.max(quads, P * D)));
  gpuProduct(gpu, { x: patches, count: P - first, K, weight: io.weight, N: D, y: io.y, accumulate: true, rowOffset: first });
};

/**
 * The input layer of a ViT: a convolution whose stride is its kernel size, an optional class row in front, learned positions.
 * pixels [channels, height, width]; weight [D, channels * patch^2] (the convolution kernel, flattened); bias,
 * classEmbedding [D]; positionEmbedding, y [P, D] with P = patches (+ 1 with a class row), patches in raster order. (arXiv 2010.11929)
 */
export const patchEmbedding: Required<Op<typeof definition>> = { definition, reference, wasm, webgpu };
export const patchEmbeddingOnWasm: Op<typeof definition> = { definition, wasm };
export const patchEmbeddingOnWebGpu: Op<typeof definition> = { definition, webgpu };
