/**
 * AssemblyScript -> build/wasm/kernels-simd.wasm and kernels-relaxed.wasm: one source, two binaries.
 * Run: npm run build; by itself on Node 24: node build/compile.ts [--force]. Does nothing, and says nothing, when both are newer
 * than every input. Progress goes to the standard error: the standard output belongs to the command that builds first.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { RESERVED } from '../src/backend/wasm/memory.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

export interface Variant {
  name: 'simd' | 'relaxed';
  file: string;
  flags: readonly string[];
}

export const VARIANTS: readonly Variant[] = [
  { name: 'simd', file: 'build/wasm/kernels-simd.wasm', flags: ['--enable', 'simd'] },
  { name: 'relaxed', file: 'build/wasm/kernels-relaxed.wasm', flags: ['--enable', 'simd', '--enable', 'relaxed-simd'] },
];

/** Memory with a maximum: what shared memory must have too, so that one binary serves both (see src/backend/wasm/binary.ts). */
const MEMORY = ['--initialMemory', '1', '--maximumMemory', '65536'];
const FLAGS = [
  '--importMemory',
  ...MEMORY,
  '--noExportMemory',
  '-O3',
  '--converge',
  '--noAssert',
  '--runtime',
  'stub',
  '--memoryBase',
  '64',
];

/** Compiles what is older than its inputs; returns the paths written. */
export async function compileKernels(force = false): Promise<string[]> {
  const sources = readdirSync(join(root, 'assembly')).map((file) => join(root, 'assembly', file));
  const inputs = [...sources, fileURLToPath(import.meta.url), join(root, 'node_modules/assemblyscript/package.json')];
  const newest = Math.max(...inputs.map((file) => statSync(file).mtimeMs));
  const stale = VARIANTS.filter(({ file }) => force || (statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0) <= newest);
  if (!stale.length) return [];
  mkdirSync(join(root, 'build/wasm'), { recursive: true });
  const { default: asc } = await import('assemblyscript/asc');
  for (const { file, flags } of stale) {
    const start = new Date();
    const draft = file.replace('.wasm', `.${process.pid}.wasm`);
    const { error, stderr } = await asc.main(['assembly/index.ts', '--baseDir', root, ...FLAGS, ...flags, '-o', draft]);
    if (error) throw new Error(`asc failed for ${file}\n${stderr.toString()}`, { cause: error });
    checkBinary(join(root, draft));
    utimesSync(join(root, draft), start, start); // so that an input edited during the compile counts as newer
    renameSync(join(root, draft), join(root, file)); // at once, as tests may be reading it
  }
  return stale.map(({ file }) => file);
}

/**
 * The allocator owns all of linear memory but the first RESERVED bytes, so the constants of a binary must lie there; it may
 * bring no start function, and ask for nothing but the memory.
 */
function checkBinary(path: string): void {
  const bytes = readFileSync(path);
  const wanted = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`);
  if (wanted.join() !== 'env.memory') throw new Error(`${path} imports ${wanted.join(', ')}, expected env.memory only`);
  if (sectionIds(bytes).includes(8)) throw new Error(`${path} has a start section: keep top-level code out of assembly/`);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const last = new Uint8Array(memory.buffer).findLastIndex((byte) => byte !== 0);
  if (last >= RESERVED) throw new Error(`the constants of ${path} reach to ${last}: enlarge RESERVED in src/backend/wasm/memory.ts`);
}

/** The ids of a binary's sections: each is one byte of id, a LEB128 length and that many bytes. */
function sectionIds(bytes: Uint8Array): number[] {
  const ids: number[] = [];
  for (let at = 8; at < bytes.length; ) {
    ids.push(bytes[at++]);
    let length = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      length |= (bytes[at] & 0x7f) << shift;
      more = (bytes[at++] & 0x80) !== 0;
    }
    at += length;
  }
  return ids;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const written = await compileKernels(process.argv.includes('--force'));
  if (written.length) process.stderr.write(`compiled ${written.join(', ')}\n`);
}
