/** The kernel binaries that src/backend/wasm/kernel-bytes.ts unpacks. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { VARIANTS } from '../../build/compile.ts';
import { kernelBytes } from '../../src/backend/wasm/kernel-bytes.ts';

test.each(VARIANTS)('$file is unpacked to the byte', async ({ name, file }) => {
  const bytes = await kernelBytes(name === 'simd' ? 'simd128' : 'relaxed');
  expect(Buffer.from(bytes).equals(readFileSync(path.resolve(import.meta.dirname, '../..', file)))).toBe(true);
});
