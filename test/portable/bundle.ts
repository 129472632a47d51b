/** Bundles the portable suites into one file that runs in every runtime: build/test/portable.js. */
import path from 'node:path';
import { build } from 'tsup';
import { everywhere, workerFile } from '../../tsup.config.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** The worker file lies beside the bundle, as in the package. */
export function workerOf(bundle: string): string {
  return path.join(path.dirname(bundle), 'worker.js');
}

export async function bundleSuites(): Promise<string> {
  const folder = path.join(ROOT, 'build/test');
  await build({
    ...everywhere,
    config: false,
    entry: { portable: path.join(ROOT, 'test/portable/main.ts') },
    outDir: folder,
    dts: false,
    splitting: false,
    clean: false,
  });
  await build({ ...workerFile, outDir: folder });
  return path.join(folder, 'portable.js');
}
