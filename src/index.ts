/** skip-vision: kernels and methods that make vision-language models spend less work on visual tokens. */
export type {
  Backend,
  Limits,
  LossInfo,
  MemoryInfo,
  Rejection,
  SignalOption,
  TraceEvent,
  TraceOptions,
} from './backend/backend.ts';
export { BACKEND_NAMES, type BackendName, type Feature } from './backend/features.ts';
export { type ErrorCode, SkipVisionError } from './backend/errors.ts';
export { type SelectOptions, selectBackend } from './backend/select.ts';
export type { DType, FloatDType, Tensor, TensorDesc } from './backend/tensor.ts';
export type {
  BlockMatrix,
  GgufMatrix,
  Matrix,
  NbitsMatrix,
  PackOptions,
  SourceMatrix,
  Weight,
  WeightDType,
  WeightSource,
} from './backend/weight.ts';
export { type FastVRounding, type FastVRows, fastVKvBytes, keptImageRows, publishedFastVMacs } from './cost/fastv.ts';
export {
  type DecoderSizes,
  flopsRatio,
  kvBytes,
  macsPerRow,
  prefillFlops,
  publishedFlopsRatio,
  type SkipVisionRows,
} from './cost/skip-vision.ts';
export {
  type FastVOptions,
  fastV,
  METHOD_NAMES,
  type MethodName,
  methodByName,
  none,
  type SkipVisionOptions,
  skipVision,
  trainedMethod,
} from './methods/index.ts';
export {
  type EncodedImage,
  type GenerateOptions,
  type GenerateResult,
  type GenerateStats,
  type ImageInput,
  type LoadModelOptions,
  loadModel,
  type Method,
  type ModelSource,
  type Vlm,
} from './model/index.ts';
