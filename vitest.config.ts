import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { wgslModule } from './build/wgsl.ts';

/** Imports of `.wgsl` give kernels and imports of `.wasm` and `.deflate` give bytes, as in the built package. */
const assets = {
  name: 'assets',
  enforce: 'pre' as const,
  load(id: string) {
    const file = id.split('?')[0]!;
    if (file.endsWith('.wgsl')) return wgslModule(file);
    if (!/\.(wasm|deflate)$/.test(file)) return undefined;
    return `export default Uint8Array.from(atob('${readFileSync(file, 'base64')}'), (c) => c.charCodeAt(0));`;
  },
};

export default defineConfig({
  plugins: [assets],
  test: {
    environment: 'node',
    include: ['test/unit/**/*.test.ts', 'test/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    // Against hangs only: the slowest test takes a minute on an idle machine.
    testTimeout: 10 * 60_000,
    hookTimeout: 10 * 60_000,
  },
});
