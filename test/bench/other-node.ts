/** A benchmark on another Node than the one of the tools, which cannot run these sources as they are. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Bundles run.ts to plain JavaScript, peers left outside, and runs it on `node`, a command or path. Returns the exit status. */
export async function benchOnNode(node: string, args: readonly string[]): Promise<number> {
  const { build } = await import('tsup');
  const { everywhere, workerFile } = await import('../../tsup.config.ts');
  const outDir = path.join(ROOT, 'build/test');
  const external = [...everywhere.external!, 'benchmark', 'tsup', /^onnxruntime/, /^@tensorflow/, /tsup\.config/];
  const loader = { ...everywhere.loader, '.wasm': 'binary' } as const;
  const options = { config: false, dts: false, splitting: false, clean: false, outDir } as const;
  await build({ ...everywhere, ...options, loader, external, entry: { bench: path.join(ROOT, 'test/bench/run.ts') } });
  await build({ ...workerFile, outDir });
  const { status, error } = spawnSync(node, [path.join(outDir, 'bench.js'), ...args], { stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}
