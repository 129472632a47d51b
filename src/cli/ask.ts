import { fileURLToPath } from 'node:url';
import type { BackendName } from '../backend/features.ts';
import { selectBackend } from '../backend/select.ts';
import type { FloatDType } from '../backend/tensor.ts';
import type { WeightDType } from '../backend/weight.ts';
import { methodByName, trainedMethod } from '../methods/index.ts';
import { loadModel } from '../model/load.ts';
import { findGpu } from './gpu.ts';

export interface AskOptions {
  method?: string;
  backend?: string;
  model?: string;
  dtype?: string;
  kvDtype?: string;
  maxTokens?: number;
  json: boolean;
}

/** Prints the answer, and below it what it cost; with `json` one object. */
export async function ask(image: string, question: string, options: AskOptions): Promise<number> {
  const progress = (line: string) => {
    if (!options.json && process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  };
  const prefer = options.backend as BackendName | undefined;
  const mayUseGpu = prefer === undefined || prefer === 'webgpu';
  await using backend = await selectBackend({ prefer, gpu: mayUseGpu ? await findGpu() : undefined });
  const source = options.model ?? bundledModel();
  const dtype = options.dtype as WeightDType | undefined;
  using model = await loadModel(source, { backend, dtype, onProgress: ({ file }) => progress(`loading ${file}`) });
  const method = options.method === undefined ? trainedMethod(model.config) : methodByName(options.method, model.config);
  progress('thinking');
  const { maxTokens } = options;
  const kvDtype = options.kvDtype as FloatDType | undefined;
  const result = await model.generate({ image, question, method, maxTokens, kvDtype, onToken: ({ text }) => progress(text) });
  progress('');
  const { stats } = result;
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify({ answer: result.text, ids: result.ids, finishReason: result.finishReason, rejected: backend.rejected, stats })}\n`,
    );
    return 0;
  }
  process.stdout.write(`${result.text}\n`);
  const megaFlops = (stats.prefillFlops / 1e6).toFixed(1);
  const lines = [
    `${stats.method} on ${backend.name} (${backend.description})`,
    `${stats.promptRows} rows attended, ${stats.ffnRows} in the FFN; ${megaFlops} MFLOP prefill in ${stats.prefillMs.toFixed(1)} ms`,
    `${stats.generatedTokens} tokens, ${stats.decodeMsPerToken.toFixed(2)} ms each; KV ${stats.kvBytesBefore} -> ${stats.kvBytesAfter} bytes`,
  ];
  process.stderr.write(`${lines.join('\n')}\n`);
  return 0;
}

/** The self-trained toy model that comes with the package. */
function bundledModel(): string {
  return fileURLToPath(new URL('../examples/tiny-vlm/skip', import.meta.url));
}
