import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { deflateSync } from 'node:zlib';
import { defineConfig, type Options } from 'tsup';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/**
 * WGSL is inlined without comments and without space that separates nothing: that is more than half of it. It has no string
 * literals to spare. Space stays where tokens could run together: around - < > & | ! and /, and between a `>` and a `=`.
 */
export function shortWgsl(code: string): string {
  const lines = code.split('\n').map((line) => line.replace(/\/\/.*$/, '').trim());
  const text = lines.filter(Boolean).join('\n');
  return text.replace(/\s*([,;:{}()[\]])\s*/g, '$1').replace(/(?<!>)\s*=\s*/g, '=');
}

const wgsl: Plugin = {
  name: 'wgsl',
  setup(build) {
    build.onLoad({ filter: /\.wgsl$/ }, async ({ path }) => ({ contents: shortWgsl(await readFile(path, 'utf8')), loader: 'text' }));
  },
};

/** Kernel binaries are inlined deflated: src/backend/wasm/kernel-bytes.ts inflates them. */
const wasm: Plugin = {
  name: 'wasm',
  setup(build) {
    build.onLoad({ filter: /\.wasm$/ }, async ({ path }) => ({
      contents: deflateSync(await readFile(path), { level: 9 }),
      loader: 'binary',
    }));
  },
};

/** Sources name their worker file by its name among the sources; beside the built modules it is worker.js. */
const workerName: Plugin = {
  name: 'worker-name',
  setup(build) {
    build.onLoad({ filter: /wasm[\\/]pool\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      return { contents: source.replaceAll("'./worker.ts', import.meta.url", "'./worker.js', import.meta.url"), loader: 'ts' };
    });
  },
};

/** One build for every runtime: ES modules, kernels inlined, `using` lowered for Node 20. */
export const everywhere: Options = {
  format: ['esm'],
  platform: 'neutral',
  target: 'es2022',
  esbuildPlugins: [wgsl, wasm, workerName],
  external: [/^node:/, 'webgpu'],
  silent: true,
};

const esbuildOptions: Options['esbuildOptions'] = (options) => {
  options.minifyWhitespace = true; // names stay readable in stack traces
  options.minifySyntax = true;
  options.lineLimit = 120; // an uncaught error prints its line
};

/** The file of worker threads: a build of its own, as it must be in one piece to be served from anywhere. */
export const workerFile: Options = {
  ...everywhere,
  config: false,
  entry: { worker: path.join(import.meta.dirname, 'src/backend/wasm/worker.ts') },
  dts: false,
  splitting: false,
  esbuildOptions,
  clean: false,
};

/** The subpaths of `exports` in package.json, and the command. */
const entries = {
  index: 'src/index.ts',
  ops: 'src/ops/index.ts',
  model: 'src/model/index.ts',
  methods: 'src/methods/index.ts',
  'backend/wasm': 'src/backend/wasm/driver.ts',
  'backend/webgpu': 'src/backend/webgpu/driver.ts',
  'backend/reference': 'src/backend/reference/driver.ts',
  cli: 'src/cli.ts',
};

/** Each op in a file of its own, so that a bundler drops the ops nobody imports. These are no subpaths and need no types. */
const ops = Object.fromEntries(readdirSync('src/ops').map((file) => [`ops/${file.replace(/\.ts$/, '')}`, `src/ops/${file}`]));

export default defineConfig({
  ...everywhere,
  entry: { ...entries, ...ops },
  // for users whose `lib` lacks the types of `using`
  dts: { entry: entries, banner: '/// <reference lib="esnext.disposable" />' },
  esbuildOptions,
  splitting: true,
  clean: true,
});
