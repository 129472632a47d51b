import { BACKEND_NAMES, type BackendName } from '../backend/features.ts';
import { selectBackend } from '../backend/select.ts';
import type { GpuLike } from '../backend/webgpu/device.ts';
import { findGpu } from './gpu.ts';

interface Finding {
  name: BackendName;
  works: boolean;
  description?: string;
  features?: string[];
  maxBufferBytes?: number;
  reason?: string;
}

/** Tries every backend by itself and says what came of it. Exit code 0: at least one works (the reference always does). */
export async function doctor({ json }: { json: boolean }): Promise<number> {
  const gpu = await findGpu();
  const findings: Finding[] = [];
  for (const name of BACKEND_NAMES) findings.push(await examine(name, gpu));
  await using chosen = await selectBackend({ gpu });
  if (json) {
    process.stdout.write(`${JSON.stringify({ chosen: chosen.name, backends: findings })}\n`);
    return 0;
  }
  for (const { name, works, description, features, maxBufferBytes, reason } of findings) {
    const detail = works ? `${description}; features: ${features!.join(', ') || 'none'}; largest buffer ${maxBufferBytes} bytes` : reason;
    process.stdout.write(`${works ? 'ok' : 'no'}  ${name.padEnd(9)}  ${detail}\n`);
  }
  process.stdout.write(`chosen by default: ${chosen.name}\n`);
  for (const { name, reason } of chosen.rejected) process.stdout.write(`  not ${name}: ${reason}\n`);
  return 0;
}

async function examine(name: BackendName, gpu: GpuLike | undefined): Promise<Finding> {
  try {
    await using backend = await selectBackend({ prefer: [name], gpu });
    const { description, features, limits } = backend;
    return { name, works: true, description, features: [...features], maxBufferBytes: limits.maxBufferBytes };
  } catch (error) {
    return { name, works: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
