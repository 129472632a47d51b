import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { defineConfig, type Options } from 'tsup';
import { minifyWgsl } from './build/wgsl.ts';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/** WGSL is inlined as text, in fewer bytes. */
const wgsl: Plugin = {
  name: 'wgsl',
  setup(build) {
    build.onLoad({ filter: /\.wgsl$/ }, async ({ path }) => ({ contents: minifyWgsl(await readFile(path, 'utf8')), loader: 'text' }));
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
  esbuildPlugins: [wgsl, workerName],
  loader: { '.deflate': 'binary' },
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
const ops = Object.fromEntries(
  readdirSync('src/ops')
    .filter((file) => file.endsWith('.ts'))
    .map((file) => [`ops/${file.replace(/\.ts$/, '')}`, `src/ops/${file}`]),
);

export default defineConfig({
  ...everywhere,
  entry: { ...entries, ...ops },
  // for users whose `lib` lacks the types of `using`
  dts: { entry: entries, banner: '/// <reference lib="esnext.disposable" />' },
  esbuildOptions,
  splitting: true,
  clean: true,
});
