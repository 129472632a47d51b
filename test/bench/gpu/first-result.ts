/**
 * One contender from its loaded library to the first result of an FFN, in a process of its own, so that nothing is warm.
 * Prints milliseconds as JSON. Arguments: ours | ort-web | ort-web-up | ort-node, tokens, hidden, inner, [folder of peers].
 */
import { createWebGpuBackend } from '../../../src/backend/webgpu/driver.ts';
import { nodeGpu } from '../../gpu.ts';
import { type FfnData, ffnData } from '../data.ts';
import { swigluModel } from '../onnx.ts';
import { ownFfn } from '../own-ffn.ts';
import { loadOrt, ORT_OPTIONS, takePeersFrom } from './peers.ts';

const [contender, tokens, hidden, inner, folder] = process.argv.slice(2);
if (folder) takePeersFrom(folder);
const data = ffnData([Number(tokens), Number(hidden), Number(inner)]);
const gpu = await nodeGpu();
Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
console.log(JSON.stringify(contender === 'ours' ? await ours(data) : await onnxruntime(data)));
process.exit(0);

async function ours(data: FfnData) {
  const start = performance.now();
  const backend = await createWebGpuBackend({ gpu });
  const { call, read } = await ownFfn(backend, data);
  const prepared = performance.now();
  call();
  await read();
  return { prepare: prepared - start, first: performance.now() - prepared };
}

/** ort-web-up: its Wasm module is compiled before the clock starts, by a session on the CPU. */
async function onnxruntime(data: FfnData) {
  const ort = await loadOrt(contender === 'ort-node' ? 'ort-node' : 'ort-web');
  const model = swigluModel('f32', data.hidden, data.inner, data);
  if (contender === 'ort-web-up') await ort.InferenceSession.create(smallModel(), { executionProviders: ['wasm'] });
  const start = performance.now();
  const session = await ort.InferenceSession.create(model, ORT_OPTIONS);
  const prepared = performance.now();
  const { y } = await session.run({ x: new ort.Tensor('float32', data.input, [data.tokens, data.hidden]) });
  if (!(y!.data instanceof Float32Array)) throw new Error('the result is not on the host');
  return { prepare: prepared - start, first: performance.now() - prepared };
}

function smallModel(): Uint8Array {
  return swigluModel('f32', 4, 4, ffnData([1, 4, 4]));
}
