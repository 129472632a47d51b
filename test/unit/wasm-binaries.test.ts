/** The kernel binaries that src/backend/wasm/kernel-bytes.ts unpacks. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { packBinaries, VARIANTS } from '../../build/compile.ts';
import { kernelBytes, unpackBinaries } from '../../src/backend/wasm/kernel-bytes.ts';

test.each(VARIANTS)('$file is unpacked to the byte', async ({ name, file }) => {
  const bytes = await kernelBytes(name === 'simd' ? 'simd128' : 'relaxed');
  expect(Buffer.from(bytes).equals(readFileSync(path.resolve(import.meta.dirname, '../..', file)))).toBe(true);
});

test.each([
  [0, 1],
  [8191, 8193],
  [8193, 8192],
  [32769, 32768],
  [5, 20000],
])('binaries of %d and %d bytes are unpacked to the byte', async (first, second) => {
  const binaries = [first, second].map((length) => Uint8Array.from({ length }, (_, i) => i * length));
  const { simd128, relaxed } = await unpackBinaries(packBinaries(binaries));
  expect([simd128, relaxed]).toEqual(binaries);
});
