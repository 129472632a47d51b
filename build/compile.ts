/**
 * AssemblyScript -> build/wasm/kernels-simd.wasm and kernels-relaxed.wasm: one source, two binaries; both in kernels.deflate, as the
 * package holds them; and the types of what they export in kernels.d.ts. Run: npm run build; by itself on Node 24:
 * node build/compile.ts [--force]. Does nothing, and says nothing, when they are newer than every input. Progress goes to the
 * standard error: the standard output belongs to the command that builds first.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { RESERVED } from '../src/backend/wasm/memory.ts';
import { deflateSync } from 'node:zlib';
import { wgslTypes } from './wgsl.ts';

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

const PACKED = 'build/wasm/kernels.deflate';
const TYPES = 'build/wasm/kernels.d.ts';
/** Of the params of the WGSL kernels; in git, so that editors know them before anything was built. */
const WGSL_TYPES = 'build/kernels.d.ts';

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
  '--bindings',
  'raw', // with declarations
];

/** Compiles what is older than its inputs; returns the paths written. */
export async function compileKernels(force = false): Promise<string[]> {
  const sources = readdirSync(join(root, 'assembly')).map((file) => join(root, 'assembly', file));
  const memory = join(root, 'src/backend/wasm/memory.ts'); // its RESERVED
  const inputs = [...sources, memory, fileURLToPath(import.meta.url), join(root, 'node_modules/assemblyscript/package.json')];
  const newest = Math.max(...inputs.map((file) => statSync(file).mtimeMs));
  const isOld = (file: string, than: number) => force || (statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0) <= than;
  const stale = isOld(TYPES, newest) ? VARIANTS : VARIANTS.filter(({ file }) => isOld(file, newest));
  if (stale.length) await compileVariants(stale);
  const written = stale.map(({ file }) => file);
  if (!stale.length && !isOld(PACKED, newest)) return written;
  replaceFile(PACKED, packBinaries(VARIANTS.map(({ file }) => readFileSync(join(root, file)))));
  return [...written, PACKED];
}

async function compileVariants(variants: readonly Variant[]): Promise<void> {
  mkdirSync(join(root, 'build/wasm'), { recursive: true });
  const { default: asc } = await import('assemblyscript/asc');
  for (const { file, flags } of variants) {
    const start = new Date();
    const outputs = new Map<string, Uint8Array | string>();
    const writeFile = (name: string, contents: Uint8Array | string) => void outputs.set(name, contents);
    const { error, stderr } = await asc.main(['assembly/index.ts', '--baseDir', root, ...FLAGS, ...flags, '-o', 'kernels.wasm'], {
      writeFile,
    });
    if (error) throw new Error(`asc failed for ${file}\n${stderr.toString()}`, { cause: error });
    const binary = outputs.get('kernels.wasm') as Uint8Array<ArrayBuffer>;
    checkBinary(file, binary);
    replaceFile(file, binary, start);
    replaceFile(TYPES, typesOf(outputs.get('kernels.d.ts') as string), start);
  }
}

/** The declarations that asc writes for an instance's exports, as one interface. */
function typesOf(declarations: string): string {
  const functions = [...declarations.matchAll(/export function (\w+)(\(.*\)): (\w+);/g)];
  const lines = functions.map(([, name, parameters, result]) => `  readonly ${name}: ${parameters} => ${result};\n`);
  return `/** The exports of the kernel binaries: written by build/compile.ts, changed in assembly/. */\nexport interface WasmKernels {\n${lines.join('')}}\n`;
}

/** At once, as tests may be reading it; and as old as its inputs, so that one edited during the compile counts as newer. */
function replaceFile(file: string, contents: Uint8Array | string, time = new Date()): void {
  const draft = join(root, `${file}.${process.pid}`);
  writeFileSync(draft, contents);
  utimesSync(draft, time, time);
  renameSync(draft, join(root, file));
}

/** Declares the params of the WGSL kernels for the compiler; returns the path where that is news. */
function declareKernels(): string[] {
  const text = wgslTypes(['kernels', 'test/bench/gpu'].map((folder) => join(root, folder)));
  if (existsSync(join(root, WGSL_TYPES)) && readFileSync(join(root, WGSL_TYPES), 'utf8') === text) return [];
  replaceFile(WGSL_TYPES, Buffer.from(text));
  return [WGSL_TYPES];
}

/** Deflate finds repetitions 32 KB back. */
const BLOCK = 8192;

/**
 * Both binaries, for src/backend/wasm/kernel-bytes.ts: their lengths as u32, little endian, then a block of each by turns, all of it
 * deflated. They are much alike, and so the second costs a quarter of the first.
 */
export function packBinaries(binaries: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const lengths = new DataView(new ArrayBuffer(4 * binaries.length));
  for (const [i, { length }] of binaries.entries()) lengths.setUint32(4 * i, length, true);
  const parts = [new Uint8Array(lengths.buffer)];
  for (let at = 0; binaries.some(({ length }) => at < length); at += BLOCK)
    parts.push(...binaries.map((binary) => binary.subarray(at, at + BLOCK)));
  return new Uint8Array(deflateSync(Buffer.concat(parts), { level: 9 }));
}

/**
 * The allocator owns all of linear memory but the first RESERVED bytes, so the constants of a binary must lie there; it may
 * bring no start function, and ask for nothing but the memory.
 */
function checkBinary(path: string, bytes: Uint8Array<ArrayBuffer>): void {
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
  const written = [...(await compileKernels(process.argv.includes('--force'))), ...declareKernels()];
  if (written.length) process.stderr.write(`wrote ${written.join(', ')}\n`);
}
