// Written by build/compile.ts: the params of every kernel.
declare module '*/activation.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/append-kv.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'A' | 'n' | 'C' | 'words' | 'at'>; export default kernel }
declare module '*/argmax.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'V'>; export default kernel }
declare module '*/attention-scores.logits.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'H' | 'Hkv' | 'dh' | 'S' | 'causal' | 'qPosition' | 'hasBias' | 'scale'>; export default kernel }
declare module '*/attention-scores.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'H' | 'S' | 'causal' | 'qPosition' | 'mean'>; export default kernel }
declare module '*/attention.combine.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'H' | 'dh' | 'slices'>; export default kernel }
declare module '*/attention.keys.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'H' | 'Hkv' | 'dh' | 'S' | 'causal' | 'hiddenCount' | 'hasBias' | 'scale'>; export default kernel }
declare module '*/attention.row.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'H' | 'Hkv' | 'dh' | 'S' | 'causal' | 'hiddenCount' | 'hasBias' | 'scale'>; export default kernel }
declare module '*/attention.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'H' | 'Hkv' | 'dh' | 'S' | 'causal' | 'hiddenCount' | 'hasBias' | 'scale'>; export default kernel }
declare module '*/compact-kv.in-place.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'A' | 'S' | 'R' | 'width'>; export default kernel }
declare module '*/compact-kv.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'A' | 'S' | 'R' | 'U' | 'width'>; export default kernel }
declare module '*/copy.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/dot.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/element.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/f16.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/fma.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/gathered-ffn.inner.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'K' | 'M' | 'first' | 'count' | 'start' | 'activation' | 'hasRows' | 'hasGateBias' | 'hasUpBias' | 'hasNormBias' | 'rms' | 'layer' | 'eps'>; export default kernel }
declare module '*/gathered-ffn.integers.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'K' | 'M' | 'first' | 'count' | 'start' | 'activation' | 'hasRows' | 'hasGateBias' | 'hasUpBias' | 'hasNormBias' | 'rms' | 'layer' | 'eps'>; export default kernel }
declare module '*/gathered-ffn.stats.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'D' | 'hasRows' | 'eps'>; export default kernel }
declare module '*/gathered-ffn.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'K' | 'M' | 'first' | 'count' | 'start' | 'activation' | 'hasRows' | 'hasGateBias' | 'hasUpBias' | 'hasNormBias' | 'rms' | 'layer' | 'eps'>; export default kernel }
declare module '*/int8.tile.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/int8.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/linear.integers.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'K' | 'N' | 'first' | 'count' | 'start' | 'firstRow' | 'activation' | 'hasRows' | 'hasBias' | 'hasOutRows' | 'hasRowGate' | 'accumulate' | 'rms' | 'eps'>; export default kernel }
declare module '*/linear.quantize.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'D' | 'start' | 'hasRows' | 'hasNorm' | 'hasNormBias' | 'layer' | 'eps'>; export default kernel }
declare module '*/linear.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'K' | 'N' | 'first' | 'count' | 'start' | 'firstRow' | 'activation' | 'hasRows' | 'hasBias' | 'hasOutRows' | 'hasRowGate' | 'accumulate' | 'rms' | 'eps'>; export default kernel }
declare module '*/merge.assign.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'M' | 'C'>; export default kernel }
declare module '*/merge.rank.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'M'>; export default kernel }
declare module '*/merge.redundancy.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'C'>; export default kernel }
declare module '*/merge.total.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'C'>; export default kernel }
declare module '*/merge.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'M' | 'C'>; export default kernel }
declare module '*/move-rows.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'rows' | 'width' | 'pitch' | 'firstFrom' | 'firstTo' | 'hasList'>; export default kernel }
declare module '*/norm.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'T' | 'D' | 'layer' | 'hasWeight' | 'hasBias' | 'eps'>; export default kernel }
declare module '*/order.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/patch-embedding.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'P' | 'D' | 'first' | 'channels' | 'height' | 'width' | 'patchSize' | 'hasBias' | 'hasPositions'>; export default kernel }
declare module '*/product.few-rows.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/product.rows.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/product.tiles.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/product.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/range.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/read.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/rope.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'Q' | 'H' | 'n' | 'Hkv' | 'half' | 'step' | 'partner' | 'at' | 'hasRows'>; export default kernel }
declare module '*/row-stats.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/scatter-rows.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'R' | 'D' | 'hasGate'>; export default kernel }
declare module '*/summary.score.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'n' | 'D' | 'hasNormBias' | 'eps' | 'scoreBias'>; export default kernel }
declare module '*/summary.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'n' | 'D'>; export default kernel }
declare module '*/top-k-rows.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<'N' | 'R' | 'rangeCount'>; export default kernel }
declare module '*/weight.f16.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/weight.f32.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/weight.floats.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/weight.q4.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/weight.q8.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
declare module '*/workgroup.wgsl' { const kernel: import('../src/backend/webgpu/kernel.ts').GpuKernel<never>; export default kernel }
