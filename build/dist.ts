/**
 * src -> dist. Run: npm run build; by itself on Node 24: node build/dist.ts [--force]. Does nothing, and says nothing, when dist
 * is newer than every input, so that `npm start` and the tests can always build first. Progress goes to the standard error.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const INPUTS = ['src', 'kernels', 'build/wasm', 'build/dist.ts', 'build/wgsl.ts', 'tsup.config.ts', 'tsconfig.json', 'package.json'];
const stamp = join(root, 'dist/.built');

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Time of the newest file under the inputs; a folder's own time tells of files that are gone. */
function newestInput(): number {
  const times = INPUTS.flatMap((input) => {
    const path = join(root, input);
    if (!statSync(path).isDirectory()) return [modified(path)];
    return [path, ...readdirSync(path, { recursive: true }).map((file) => join(path, String(file)))].map(modified);
  });
  return Math.max(...times);
}

/** Local names are shortened; those of classes and methods stay readable in stack traces. Declarations are not indented. */
async function shortenNames(folder: string): Promise<void> {
  const { minify } = await import('terser');
  const mangle = { keep_classnames: true };
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = join(folder, name);
    if (name.endsWith('.d.ts')) writeFileSync(file, readFileSync(file, 'utf8').replaceAll(/^ +/gm, ''));
    if (!name.endsWith('.js')) continue;
    // Annotations tell bundlers what they may drop.
    const { code } = await minify(readFileSync(file, 'utf8'), {
      module: true,
      compress: false,
      mangle,
      format: { max_line_len: 1000, preserve_annotations: true },
    });
    writeFileSync(file, code ?? '');
  }
}

if (process.argv.includes('--force') || modified(stamp) <= newestInput()) {
  rmSync(stamp, { force: true });
  const start = new Date();
  const tsup = join(root, 'node_modules/tsup/dist/cli-default.js');
  const { status } = spawnSync(process.execPath, [tsup], { cwd: root, stdio: ['ignore', process.stderr.fd, 'inherit'] });
  if (status !== 0) process.exit(status ?? 1);
  const [{ build }, { workerFile }] = await Promise.all([import('tsup'), import('../tsup.config.ts')]);
  await build({ ...workerFile, outDir: join(root, 'dist') });
  await shortenNames(join(root, 'dist'));
  writeFileSync(stamp, `${start.toISOString()}\n`);
  console.error(`wrote dist in ${Date.now() - start.getTime()} ms`);
}
