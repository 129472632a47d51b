import { defineConfig, type Options } from 'tsup';

/** One build for every runtime: ES modules, kernels inlined, `using` lowered for Node 20. */
export const everywhere: Options = {
  format: ['esm'],
  platform: 'neutral',
  target: 'es2022',
  loader: { '.wasm': 'binary', '.wgsl': 'text' },
  external: [/^node:/, 'webgpu'],
  silent: true,
};

/** The subpaths of `exports` in package.json, and the command. */
export default defineConfig({
  ...everywhere,
  entry: {
    index: 'src/index.ts',
    ops: 'src/ops/index.ts',
    model: 'src/model/index.ts',
    methods: 'src/methods/index.ts',
    'backend/wasm': 'src/backend/wasm/driver.ts',
    'backend/webgpu': 'src/backend/webgpu/driver.ts',
    'backend/reference': 'src/backend/reference/driver.ts',
    cli: 'src/cli.ts',
  },
  dts: true,
  splitting: true,
  clean: true,
});
