/**
 * The lock of the kernels: size and hash of every kernel as the package ships it, so that no change to one goes unseen.
 * build/check.ts compares, `npm run lock` renews it.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VARIANTS } from './compile.ts';
import { minifyWgsl } from './wgsl.ts';

const FILE = 'build/kernels.lock.json';

interface Entry {
  bytes: number;
  sha256: string;
}
type Lock = Readonly<Record<string, Entry>>;

/** Kernels of the folder against its lock: a line for each that differs, is new or is gone. */
export function checkLock(root: string): string[] {
  const path = join(root, FILE);
  const locked = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Lock) : {};
  const shipped = shippedKernels(root);
  const names = [...new Set([...Object.keys(locked), ...Object.keys(shipped)])];
  const changes = names.flatMap((name) => changeOf(name, locked[name], shipped[name]));
  return changes.map((change) => `${change}. If that is meant, \`npm run lock\` renews ${FILE}`);
}

export function writeLock(root: string): void {
  writeFileSync(join(root, FILE), `${JSON.stringify(shippedKernels(root), null, 2)}\n`);
}

function changeOf(name: string, locked: Entry | undefined, shipped: Entry | undefined): string[] {
  if (!shipped) return [`${name} is gone: the lock has it with ${locked?.bytes} bytes`];
  if (!locked) return [`${name} is not in the lock: ${shipped.bytes} bytes`];
  if (locked.bytes === shipped.bytes && locked.sha256 === shipped.sha256) return [];
  const hashes = `sha256 ${locked.sha256.slice(0, 12)} -> ${shipped.sha256.slice(0, 12)}`;
  return [`${name} is not as locked: ${locked.bytes} -> ${shipped.bytes} bytes, ${hashes}`];
}

/** Binaries that are not compiled yet count as gone. */
function shippedKernels(root: string): Lock {
  const kernels: Record<string, Entry> = {};
  for (const { file } of VARIANTS) if (existsSync(join(root, file))) kernels[file] = entryOf(readFileSync(join(root, file)));
  for (const file of readdirSync(join(root, 'kernels')).sort())
    kernels[`kernels/${file}`] = entryOf(Buffer.from(minifyWgsl(readFileSync(join(root, 'kernels', file), 'utf8'))));
  return kernels;
}

function entryOf(bytes: Uint8Array): Entry {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
