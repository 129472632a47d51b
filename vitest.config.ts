import { readFileSync } from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
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

/** Files that take minutes, the longest first: begun at the end, one would keep a core busy while the other has nothing to do. */
const LONG = ['portable', 'golden', 'methods', 'method-interface'];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.indexOf(path.basename(moduleId, '.test.ts'));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  plugins: [assets],
  test: {
    environment: 'node',
    include: ['test/unit/**/*.test.ts', 'test/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    sequence: { sequencer: LongFirst },
    // Against hangs only: the slowest test takes a minute on an idle machine.
    testTimeout: 10 * 60_000,
    hookTimeout: 10 * 60_000,
  },
});
