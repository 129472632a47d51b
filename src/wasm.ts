/** `skip-vision/backend/wasm`: the backend, and what tunes it, which knows the products that the backend does not. */
export { createWasmBackend, type WasmBackendOptions, wasmMemoryOf } from './backend/wasm/driver.ts';
export { tuneWasm, type WasmTuning } from './ops/product/tune-wasm.ts';
