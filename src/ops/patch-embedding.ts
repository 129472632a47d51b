import code from '../../kernels/patch-embedding.wgsl';
import { defineOp, input, optional, output, weight } from '../backend/op.ts';
import { isInteger, packedBytes, packRows, product, productScratch, rowBlocks } from './product/wasm.ts';
import type { GpuKernel } from '../backend/webgpu/binding.ts';
import { product as gpuProduct, quadsOf } from './product/webgpu.ts';
import { dot } from './dot.ts';

const kernel: GpuKernel = { name: 'patch-embedding', code };

export interface PatchEmbeddingAttrs {
  patchSize: number;
}

/**
 * The input layer of a ViT: a convolution whose stride is its kernel size, an optional class row in front, learned positions.
 * pixels [channels, height, width]; weight [D, channels * patch^2] (the convolution kernel, flattened); bias,
 * classEmbedding [D]; positionEmbedding, y [P, D] with P = patches (+ 1 with a class row), patches in raster order. (arXiv 2010.11929)
 */
export const patchEmbedding = defineOp<PatchEmbeddingAttrs>()({
  name: 'patch_embedding',
  attrs: ['patchSize'],
  io: {
    pixels: input('channels', 'height', 'width'),
    weight: weight('D', 'K'),
    bias: optional(input('D')),
    classEmbedding: optional(input('D')),
    positionEmbedding: optional(input('P', 'D')),
    y: output('P', 'D'),
  },
  check({ io, dims, attrs: { patchSize }, fail }) {
    const divides = Number.isInteger(patchSize) && patchSize > 0 && dims.height % patchSize === 0 && dims.width % patchSize === 0;
    if (!divides) fail('patchSize', patchSize, `a positive divisor of height ${dims.height} and width ${dims.width}`);
    const K = dims.channels * patchSize ** 2;
    if (dims.K !== K) fail('weight', `[${dims.D}, ${dims.K}]`, `[D, ${K}] for ${dims.channels} channels and patches of ${patchSize}`);
    const P = (dims.height / patchSize) * (dims.width / patchSize) + (io.classEmbedding ? 1 : 0);
    if (dims.P !== P) fail('y', `[${dims.P}, ${dims.D}]`, `[${P}, D]`);
  },
  cost: ({ P, D, K }) => ({ flops: 2 * P * D * K, bytes: 4 * (P * K + D * K + 2 * P * D) }),
  reference({ pixels, weight, bias, classEmbedding, positionEmbedding, y }, { channels, height, width, D, P, K }, { patchSize }) {
    const columns = width / patchSize;
    const first = classEmbedding ? 1 : 0;
    const patch = new Float32Array(K);
    for (let p = 0; p < P; p++) {
      if (p >= first) {
        const top = Math.floor((p - first) / columns) * patchSize;
        flattenPatch(patch, pixels, channels, height, width, patchSize, top, ((p - first) % columns) * patchSize);
      }
      for (let d = 0; d < D; d++) {
        let sum = positionEmbedding ? positionEmbedding[p * D + d]! : 0;
        if (p < first) sum += classEmbedding![d]!;
        else sum += (bias ? bias[d]! : 0) + dot(patch, 0, weight[0]!, d * K, K);
        y[p * D + d] = sum;
      }
    }
  },
  wasm(wasm, io, { channels, height, width, D, P, K }, { patchSize }) {
    const { kernels, group } = wasm;
    const { weight } = io;
    const first = io.classEmbedding ? 1 : 0;
    const scratch = productScratch(wasm, weight, P - first, K);
    const quantized = isInteger(weight);
    const patches = quantized ? wasm.scratch(packedBytes(P - first, K * 4)) : scratch.a;
    kernels.start_patch_rows_f32!(io.y, io.positionEmbedding, io.classEmbedding, P, D);
    for (const block of rowBlocks(P - first)) {
      // Groups of one row are plain rows.
      kernels.pack_patches_f32!(patches, io.pixels, block.first, block.count, quantized ? 1 : group, channels, height, width, patchSize);
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
  },
  webgpu(gpu, io, { channels, height, width, D, P, K }, { patchSize }) {
    const first = io.classEmbedding ? 1 : 0;
    const quads = quadsOf(K);
    const patches = gpu.scratch((P - first) * quads * 16);
    const operands = [io.pixels, io.bias, io.classEmbedding, io.positionEmbedding, patches, io.y];
    const flags = (io.bias ? 1 : 0) + (io.positionEmbedding ? 2 : 0);
    const threads = Math.max((P - first) * quads, P * D);
    gpu.dispatch(kernel, operands, [P, D, first, channels, height, width, patchSize, quads, flags], [Math.ceil(threads / 64)]);
    gpuProduct(gpu, { x: patches, count: P - first, K, weight: io.weight, N: D, y: io.y, accumulate: true, rowOffset: first });
  },
});

/** The pixels of the patch at (top, left), channel by channel, in the order of a flattened convolution kernel. */
function flattenPatch(
  patch: Float32Array,
  pixels: Float32Array,
  channels: number,
  height: number,
  width: number,
  size: number,
  top: number,
  left: number,
): void {
  let k = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) patch[k++] = pixels[(c * height + top + i) * width + left + j]!;
    }
  }
}
