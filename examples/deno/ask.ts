/**
 * Asks the bundled toy model (self-trained on synthetic 96x96 scenes) about a picture.
 * Run: deno run --allow-read examples/deno/ask.ts [PICTURE "QUESTION"]
 */
import { loadModel, selectBackend, trainedMethod } from 'skip-vision';

declare const Deno: { args: string[] }; // for type checkers outside of Deno

const folder = new URL('../tiny-vlm/', import.meta.url);
const [image = new URL('eval/000.png', folder), question = 'what is at the bottom left ?'] = Deno.args;

// Deno has WebGPU built in; where it finds no adapter, or only one that a CPU imitates, SIMD WebAssembly is next.
const backend = await selectBackend();
await using _backend = backend;
console.log(`backend: ${backend.name} (${backend.description})`);
for (const { name, reason } of backend.rejected) console.log(`  not ${name}: ${reason}`);

using model = await loadModel(new URL('skip/', folder), { backend });
// The checkpoint was trained with Skip-Vision, so that is the method it answers with.
const { text, stats } = await model.generate({ image, question, method: trainedMethod(model.config) });
console.log(`question: ${question}\nanswer: ${text}`);
console.log(`rows: ${stats.promptRows} attended, ${stats.ffnRows} in the FFN`);
console.log(`prefill: ${(stats.prefillFlops / 1e6).toFixed(1)} MFLOP in ${stats.prefillMs.toFixed(1)} ms`);
console.log(`decode: ${stats.generatedTokens} tokens, ${stats.decodeMsPerToken.toFixed(2)} ms per token`);
console.log(`KV cache: ${stats.kvBytesBefore} bytes before eviction, ${stats.kvBytesAfter} after`);
