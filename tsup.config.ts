import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { defineConfig, type Options } from 'tsup';
import { wgslModule } from './build/wgsl.ts';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/** WGSL is inlined, in fewer bytes. */
const wgsl: Plugin = {
  name: 'wgsl',
  setup(build) {
    build.onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({ contents: wgslModule(path, true), loader: 'js' }));
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

/**
 * The calls in a signature and in the declarations of attributes only make objects (see src/backend/op.ts and fields.ts). Bundlers that
 * are not told so keep the definition of every op.
 */
const pureSignatures: Plugin = {
  name: 'pure-signatures',
  setup(build) {
    const operands = 'input|output|inout|weight|anyWeight|orF16|optional|written|(row|position|id)List';
    const fields = 'number|f32|integer|oneOf|list|tuple|callback|instance|record|anything|optional';
    const calls = new RegExp(`(?<![\\w.])(field\\.(${fields})|${operands})\\(`, 'g');
    build.onLoad({ filter: /src[\\/]ops[\\/][^\\/]+\.ts$/ }, async ({ path }) => {
      return { contents: (await readFile(path, 'utf8')).replace(calls, '/* @__PURE__ */ $&'), loader: 'ts' };
    });
  },
};

/** One build for every runtime: ES modules, kernels inlined, `using` lowered for Node 20. */
export const everywhere: Options = {
  format: ['esm'],
  platform: 'neutral',
  target: 'es2022',
  esbuildPlugins: [wgsl, workerName, pureSignatures],
  loader: { '.deflate': 'binary' },
  external: [/^node:/, 'webgpu'],
  silent: true,
};

const esbuildOptions: Options['esbuildOptions'] = (options) => {
  options.minifySyntax = true; // dist.ts does the rest
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
  'ops/wasm': 'src/ops/wasm.ts',
  'ops/webgpu': 'src/ops/webgpu.ts',
  model: 'src/model/index.ts',
  methods: 'src/methods/index.ts',
  'backend/wasm': 'src/wasm.ts',
  'backend/webgpu': 'src/webgpu.ts',
  'backend/reference': 'src/backend/reference/driver.ts',
  cli: 'src/cli.ts',
};

export default defineConfig({
  ...everywhere,
  entry: entries,
  // for users whose `lib` lacks the types of `using`
  // tsup hands TypeScript an option that TypeScript 6 calls old
  dts: {
    entry: entries,
    compilerOptions: { ignoreDeprecations: '6.0', stripInternal: true },
    banner: '/// <reference lib="esnext.disposable" />',
  },
  esbuildOptions,
  splitting: true,
  clean: true,
});
