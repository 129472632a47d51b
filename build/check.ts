/**
 * Checks that the house is in order: one op, one stem in src/ops, assembly and kernels; who imports whom and how long files are
 * (check-house.ts); and prints what the binaries weigh. Run: npm run check, which compiles first. Exits with 1 and a list when
 * something is out of place.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { checkHouse, checkLengths } from './check-house.ts';
import { VARIANTS } from './compile.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
/** The largest binary that is still small beside the JavaScript around it. */
const SIZE_LIMIT = 40_000;
const TOTAL_LIMIT = 120_000;

/** Files that are no op, each for a reason. */
const HELPERS = {
  'src/ops': ['index', 'wasm', 'webgpu', 'types', 'activation', 'dot', 'norm', 'softmax'],
  assembly: [
    'index', // the list of exports
    'simd', // what kernels share
    'tiles',
    'tiles-i8',
    'tiles-q4',
    'f16',
    'f16-rows', // keys and values of attention and append-kv
    'weight-form',
    'pack-i8',
    'pack', // the matrix product behind linear, gathered-ffn and patch-embedding
    'weighted-sum', // the value side of attention and summary
    'norm', // for rms-norm, layer-norm, summary and rows on their way into packed A
    'move-rows', // for embedding, copy-rows, gather-positions and compact-kv
  ],
  kernels: ['activation', 'element', 'f16', 'int8', 'move-rows', 'norm', 'order', 'product', 'range', 'row-stats', 'weight', 'workgroup'],
} as const;

const OTHERS = ['copy-rows', 'embedding', 'gather-positions', 'layer-norm', 'rms-norm', 'rope-append'];
/** Ops without a kernel of their own name: those that only move rows, the two norms, and what is rope with more. */
const KERNEL_OF_OTHERS: Readonly<Record<'assembly' | 'kernels', readonly string[]>> = {
  assembly: [...OTHERS, 'compact-kv'],
  kernels: OTHERS,
};

/** Stems of a folder's files without the helpers; `name.part.wgsl` belongs to `name`. */
function stems(folder: keyof typeof HELPERS, extension: string): Set<string> {
  const files = readdirSync(join(root, folder)).filter((file) => file.endsWith(extension));
  const names = files.map((file) => basename(file, extension).split('.')[0]!);
  return new Set(names.filter((name) => !(HELPERS[folder] as readonly string[]).includes(name)));
}

function checkStems(): string[] {
  const ops = stems('src/ops', '.ts');
  const faults: string[] = [];
  for (const [folder, extension] of [
    ['assembly', '.ts'],
    ['kernels', '.wgsl'],
  ] as const) {
    const kernels = stems(folder, extension);
    for (const op of ops)
      if (!kernels.has(op) && !KERNEL_OF_OTHERS[folder].includes(op)) faults.push(`src/ops/${op}.ts has no ${folder}/${op}${extension}`);
    for (const kernel of kernels)
      if (!ops.has(kernel)) faults.push(`${folder}/${kernel}${extension} has no src/ops/${kernel}.ts and is no helper`);
  }
  return faults;
}

function checkSizes(): string[] {
  const faults: string[] = [];
  let total = 0;
  for (const { file } of VARIANTS) {
    const path = join(root, file);
    if (!existsSync(path)) {
      faults.push(`${file} is missing: npm run build makes it`);
      continue;
    }
    const { size } = statSync(path);
    process.stdout.write(`${file}  ${size} bytes, ${gzipSync(readFileSync(path)).length} gzipped\n`);
    if (size > SIZE_LIMIT) faults.push(`${file} has ${size} bytes, more than ${SIZE_LIMIT}`);
    total += size;
  }
  if (total >= TOTAL_LIMIT) faults.push(`the binaries have ${total} bytes together, the limit is ${TOTAL_LIMIT}`);
  return faults;
}

const house = checkHouse(root);
process.stdout.write(`src, assembly and kernels: ${house.lines} lines\n`);
const order = [...house.faults, ...checkLengths(root, ['build', 'test', 'examples'])].map(({ text }) => text);
const faults = [...checkStems(), ...checkSizes(), ...order];
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.stdout.write(faults.length ? `${faults.length} faults\n` : 'the house is in order\n');
process.exitCode = faults.length ? 1 : 0;
