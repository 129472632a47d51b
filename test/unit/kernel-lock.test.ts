/** build/kernels.lock.json: a kernel that changes without it fails the check. Binaries are changed by one byte, in a copy. */
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkLock, writeLock } from '../../build/lock.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const RENEWAL = 'npm run lock';
let copy = '';

beforeEach(() => {
  copy = mkdtempSync(path.join(tmpdir(), 'skip-vision-lock-'));
  for (const folder of ['kernels', 'build/wasm']) cpSync(path.join(ROOT, folder), path.join(copy, folder), { recursive: true });
  writeLock(copy);
});
afterEach(() => rmSync(copy, { recursive: true }));

test('the kernels are as locked', () => {
  expect(checkLock(ROOT)).toEqual([]);
  expect(checkLock(copy)).toEqual([]);
});

test.each(['build/wasm/kernels-simd.wasm', 'build/wasm/kernels-relaxed.wasm', 'kernels/rope.wgsl'])('one byte of %s', (name) => {
  const file = path.join(copy, name);
  const bytes = readFileSync(file);
  const at = bytes.length - 3;
  bytes[at] = bytes[at] === 0x30 ? 0x31 : 0x30;
  writeFileSync(file, bytes);
  const faults = checkLock(copy);
  expect(faults).toHaveLength(1);
  const { bytes: size } = (
    JSON.parse(readFileSync(path.join(copy, 'build/kernels.lock.json'), 'utf8')) as Record<string, { bytes: number }>
  )[name]!;
  for (const part of [name, `${size} -> ${size} bytes`, RENEWAL]) expect(faults[0]).toContain(part);
  writeLock(copy);
  expect(checkLock(copy)).toEqual([]);
});

test('a kernel that grows, one that is new and one that is gone; a comment is no change', () => {
  appendFileSync(path.join(copy, 'kernels/rope.wgsl'), '// why\n');
  expect(checkLock(copy)).toEqual([]);
  appendFileSync(path.join(copy, 'kernels/rope.wgsl'), 'const A = 1;\n');
  writeFileSync(path.join(copy, 'kernels/new.wgsl'), 'const B = 1;\n');
  rmSync(path.join(copy, 'kernels/argmax.wgsl'));
  const faults = checkLock(copy);
  expect(faults).toHaveLength(3);
  expect(faults.find((fault) => fault.startsWith('kernels/rope.wgsl'))).toMatch(/: (\d+) -> (?!\1)\d+ bytes/);
  expect(faults.find((fault) => fault.startsWith('kernels/new.wgsl'))).toContain('not in the lock: 10 bytes');
  expect(faults.find((fault) => fault.startsWith('kernels/argmax.wgsl'))).toContain('is gone');
});

test('a folder without a lock has no kernel in it', () => {
  rmSync(path.join(copy, 'build/kernels.lock.json'));
  expect(checkLock(copy).length).toBeGreaterThan(20);
});
