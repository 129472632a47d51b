import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Imports of `.wgsl` give text and imports of `.wasm` and `.deflate` give bytes, as in the built package. */
const assets = {
  name: 'assets',
  enforce: 'pre' as const,
  load(id: string) {
    const file = id.split('?')[0]!;
    if (file.endsWith('.wgsl')) return `export default ${JSON.stringify(readFileSync(file, 'utf8'))};`;
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
    testTimeout: 60_000,
  },
});
