/** Bundles an entry into one file that runs in every runtime, in a folder of its own under build/test for as long as this process lives. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build } from 'tsup';
import { everywhere, workerFile } from '../../tsup.config.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** The worker file lies beside the bundle, as in the package. */
export function workerOf(bundle: string): string {
  return path.join(path.dirname(bundle), 'worker.js');
}

/** `entry`: path from the root. */
export async function bundleOf(name: string, entry: string): Promise<string> {
  mkdirSync(path.join(ROOT, 'build/test'), { recursive: true });
  const folder = mkdtempSync(path.join(ROOT, `build/test/${name}-`)); // another process may bundle the same
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  await build({
    ...everywhere,
    config: false,
    entry: { [name]: path.join(ROOT, entry) },
    outDir: folder,
    dts: false,
    splitting: false,
    clean: false,
  });
  await build({ ...workerFile, outDir: folder });
  return path.join(folder, `${name}.js`);
}
