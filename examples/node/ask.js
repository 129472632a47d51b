/**
 * Asks the bundled toy model (self-trained on synthetic 96x96 scenes) about a picture. Node 20 or newer.
 * Run: node examples/node/ask.js [PICTURE "QUESTION"]
 */
import { fileURLToPath } from 'node:url';
import { loadModel, selectBackend, trainedMethod } from 'skip-vision';

const folder = new URL('../tiny-vlm/', import.meta.url);
const sample = [fileURLToPath(new URL('eval/000.png', folder)), 'what is at the bottom left ?'];
const [image, question] = process.argv.length > 2 ? process.argv.slice(2) : sample;

// WebGPU where the runtime has it, else SIMD WebAssembly, else plain loops. In Node: { gpu } of the `webgpu` package.
const backend = await selectBackend();
console.log(`backend: ${backend.name} (${backend.description})`);
for (const { name, reason } of backend.rejected) console.log(`  not ${name}: ${reason}`);

const model = await loadModel(new URL('skip/', folder), { backend });
try {
  // The checkpoint was trained with Skip-Vision, so that is the method it answers with.
  const { text, stats } = await model.generate({ image, question, method: trainedMethod(model.config) });
  console.log(`question: ${question}\nanswer: ${text}`);
  console.log(`rows: ${stats.promptRows} attended, ${stats.ffnRows} in the FFN`);
  console.log(`prefill: ${(stats.prefillFlops / 1e6).toFixed(1)} MFLOP in ${stats.prefillMs.toFixed(1)} ms`);
  console.log(`decode: ${stats.generatedTokens} tokens, ${stats.decodeMsPerToken.toFixed(2)} ms per token`);
  console.log(`KV cache: ${stats.kvBytesBefore} bytes before eviction, ${stats.kvBytesAfter} after`);
} finally {
  model[Symbol.dispose](); // Node 24 can write `using model = ...` instead
  await backend[Symbol.asyncDispose]();
}
