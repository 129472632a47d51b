/**
 * A GPU device that goes away in the middle of an answer: the error says so, and a new backend goes on to the same answer.
 * Needs the package `webgpu` and a Vulkan, Metal or D3D12 driver. Run: node examples/node/device-loss.js
 */
import { fileURLToPath } from 'node:url';
import { loadModel, selectBackend, SkipVisionError, trainedMethod } from 'skip-vision';
import { create } from 'webgpu';

const folder = new URL('../tiny-vlm/', import.meta.url);
const image = fileURLToPath(new URL('eval/000.png', folder));
const gpu = create([]); // must stay referenced as long as its devices live
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error('there is no WebGPU adapter');

/** The device of the first attempt is our own, to take it away. Drivers do so after a crash, a reset or an update. */
let device = await adapter.requestDevice();
/** Tokens shown so far, and those of this attempt. */
const shown = [];
let step = 0;

function onToken({ id, text }) {
  if (step < shown.length) {
    // Once more from the start: a greedy answer is the same on every device.
    if (shown[step] !== id) throw new Error('the new backend gives another answer');
  } else {
    shown.push(id);
    console.log(text);
  }
  step++;
  if (shown.length === 4) device?.destroy();
}

/** Nothing of a lost backend can be used again: a new one, the model loaded anew, and the question asked again. */
async function ask(question) {
  step = 0;
  const backend = await selectBackend(device ? { device, prefer: ['webgpu'] } : { gpu, prefer: ['webgpu', 'wasm'] });
  try {
    const model = await loadModel(new URL('skip/', folder), { backend });
    return await model.generate({ image, question, method: trainedMethod(model.config), onToken });
  } catch (error) {
    if (!(error instanceof SkipVisionError && error.code === 'device-lost' && device)) throw error;
    console.log(`${error.message}\ngoing on with a new backend`);
    device = undefined;
  } finally {
    await backend[Symbol.asyncDispose](); // frees the model too
  }
  return ask(question);
}

const { text } = await ask('describe');
console.log(`answer: ${text}`);
