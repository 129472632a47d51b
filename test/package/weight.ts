/**
 * What a user's bundle holds and weighs: esbuild, minified, gzip, the Wasm binaries apart. It weighs what is loaded before anything
 * can run; what few ask for (threads, 256-bit products, weights of quantized files) is loaded for them and told apart.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { bundle, kernelMarks } from './bundle.ts';
import { fail, type Project } from './project.ts';

/** Bytes of one op with its backend, and of an app that asks a model, its dependencies apart (`all` in the table is with them). */
const LIMITS = { wasm: 15_000, webgpu: 25_000, reference: Number.POSITIVE_INFINITY, app: 75_000 };
/** The binaries as they stand in JavaScript. WGSL has blanks in it and names are shorter. */
const BASE64 = /(["'`])[A-Za-z0-9+/=]{4000,}\1/g;

type BackendName = 'wasm' | 'webgpu' | 'reference';

/** Each with the entry of its ops. Those for the reference backend are the ones that run everywhere. */
const BACKENDS: Readonly<Record<BackendName, { ops: string; create: string }>> = {
  wasm: { ops: 'ops/wasm', create: 'createWasmBackend' },
  webgpu: { ops: 'ops/webgpu', create: 'createWebGpuBackend' },
  reference: { ops: 'ops', create: 'createReferenceBackend' },
};
/** What code for the other backend cannot do without. */
const FOREIGN: Readonly<Record<BackendName, RegExp>> = {
  wasm: /requestAdapter|createShaderModule|@compute|var<storage/,
  webgpu: /WebAssembly\.|Atomics\./,
  reference: /requestAdapter|createShaderModule|WebAssembly\.|Atomics\./,
};
/** Ops that are made of another's kernels: products are `linear`'s. */
const KERNELS_OF: Readonly<Record<string, readonly string[]>> = {
  gathered_ffn: ['linear'],
  patch_embedding: ['linear'],
  rope_append: ['rope'],
};

interface Op {
  /** As it is exported. */
  name: string;
  /** As its definition calls it. */
  id: string;
}

interface Weight {
  name: string;
  first: number;
  later: number;
}

/** Every op with its backend, a line each, and an app; the largest must be within the limits. */
export async function checkWeights(project: Project): Promise<string> {
  const lines: string[] = [];
  const heavy: string[] = [];
  for (const backend of ['wasm', 'webgpu', 'reference'] as const) {
    const ops = await opsOf(project, backend);
    const weights: Weight[] = [];
    for (const op of ops) weights.push(await weighOp(project, backend, op, ops));
    weights.sort((a, b) => b.first - a.first);
    lines.push(...weights.map(({ name, first, later }) => `  ${backend.padEnd(9)} ${name.padEnd(16)} ${size(first)} ${size(later)}`));
    const over = weights.filter(({ first }) => first >= LIMITS[backend]);
    if (over.length > 0)
      heavy.push(`${over.length} of ${weights.length} ops for ${backend}, ${over[0]!.name} the most, limit ${LIMITS[backend]}`);
  }
  const app = await weighApp(project);
  lines.push(...app.map(({ name, first, later }) => `  ${name.padEnd(26)} ${size(first)} ${size(later)}`));
  for (const { name, first } of app) if (name.startsWith('app') && first >= LIMITS.app) heavy.push(`${name}, limit ${LIMITS.app}`);
  const table = `bytes at first, bytes on demand:\n${lines.join('\n')}`;
  if (heavy.length > 0) fail(`too heavy: ${heavy.join('; ')}\n${table}`);
  return table;
}

/** Ops that an entry exports. */
async function opsOf({ installed }: Project, backend: BackendName): Promise<Op[]> {
  const exports = (await import(pathToFileURL(path.join(installed, `dist/${BACKENDS[backend].ops}.js`)).href)) as Record<string, unknown>;
  const ops = Object.entries(exports as Record<string, { definition?: { name: string } }>).flatMap(([name, { definition }]) =>
    definition ? [{ name, id: definition.name }] : [],
  );
  if (ops.length < 16) fail(`skip-vision/${BACKENDS[backend].ops} has the ops ${ops.map(({ name }) => name).join(', ')} only`);
  return ops;
}

/** It must hold this op, and nothing of another one or of another backend, not even on demand. */
async function weighOp(project: Project, backend: BackendName, { name, id }: Op, ops: readonly Op[]): Promise<Weight> {
  const entries = BACKENDS[backend];
  const imports = `import { ${name} } from 'skip-vision/${entries.ops}'; import { ${entries.create} } from 'skip-vision/backend/${backend}';`;
  const contents = `${imports} console.log(${name}, ${entries.create});`;
  const { first, later } = await bundle(project, contents);
  const onDemand = new Set([...later.values()].flat());
  const text = [...first, ...onDemand].join('\n');
  const defined = ops.filter((each) => text.includes(`name:"${each.id}",attrs:`)).map((each) => each.id);
  if (defined.join() !== id) fail(`the bundle of ${name} for ${backend} has the definitions ${defined.join(', ')}`);
  const [stray] = FOREIGN[backend].exec(text) ?? [];
  if (stray) fail(`the bundle of ${name} for ${backend} has "${stray}" in it`);
  const own = [id, ...(KERNELS_OF[id] ?? [])].map(stemOf);
  for (const [op, marks] of kernelMarks(
    project,
    ops.map((each) => stemOf(each.id)),
  )) {
    const has = marks.some((mark) => text.includes(mark));
    if (has && (backend === 'wasm' || !own.includes(op))) fail(`the bundle of ${name} for ${backend} has kernels of ${op}`);
    if (!has && backend !== 'wasm' && own.includes(op)) fail(`the bundle of ${name} lacks the kernels of ${op}: this check is blind`);
  }
  const binaries = text.length - text.replace(BASE64, '').length;
  if (binaries > 0 !== (backend === 'wasm')) fail(`the bundle of ${name} for ${backend} has ${binaries} bytes of Wasm binaries`);
  return { name, first: bytes(first), later: bytes(onDemand) };
}

/** Of the files of an op. */
function stemOf(id: string): string {
  return id.replaceAll('_', '-');
}

/** With what it takes to run on each backend; without and with the dependencies, which an app may share. */
async function weighApp(project: Project): Promise<Weight[]> {
  const contents = `import { loadModel, selectBackend, skipVision } from 'skip-vision'; console.log(selectBackend, loadModel, skipVision);`;
  const weights: Weight[] = [];
  const { dependencies } = JSON.parse(readFileSync(path.join(project.installed, 'package.json'), 'utf8')) as { dependencies: object };
  for (const [what, apart] of [
    ['app', Object.keys(dependencies)],
    ['all', []],
  ] as const) {
    const { first, later } = await bundle(project, contents, apart);
    const every = new Set([...later.values()].flat());
    for (const [backend, mark] of Object.entries({ wasm: 'WebAssembly.validate(', webgpu: 'createShaderModule(' })) {
      const drivers = [...later.values()].filter((texts) => texts.some((text) => text.includes(mark)));
      if (drivers.length !== 1) fail(`the app has ${drivers.length} chunks with ${mark}: this check is blind`);
      const taken = new Set([...first, ...drivers[0]!]);
      const rest = [...every].filter((text) => !taken.has(text));
      weights.push({ name: `${what} on ${backend}`, first: bytes(taken), later: bytes(rest) });
    }
  }
  return weights;
}

/** Of all these files as one: into how many they are cut is the bundler's choice. */
function bytes(texts: Iterable<string>): number {
  return gzipSync([...texts].join('\n').replaceAll(BASE64, '""'), { level: 9 }).length;
}

function size(count: number): string {
  return String(count).padStart(6);
}
