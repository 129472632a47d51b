/**
 * Checks of the package as users get it: packed, installed into a folder with an awkward name, and used from there by the
 * examples, the snippets of the README, the command, type checkers and bundlers. Run on Node 24: node test/package/run.ts, after
 * npm run build. A line per check, then `N passed, N failed, N skipped`; exit status 1 on a failure.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { driverEnvironment, driverIsChosen, installedAdapters } from '../gpu.ts';
import { note } from '../runner/journal.ts';
import { checkImports } from './bundle.ts';
import { findDeno, findNode, run } from './command.ts';
import { checkPage } from './page.ts';
import { type Check, fail, type Project, Skip } from './project.ts';
import { README_CHECKS } from './readme.ts';
import { checkThreads } from './threads.ts';
import { checkWeights } from './weight.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const KILOBYTE = 1000;
/** The sizes that the package promises, unpacked. */
const LIMITS = { core: 400 * KILOBYTE, all: 6500 * KILOBYTE };
const SAMPLE = ['answer: lion', 'rows: 78 attended, 39 in the FFN', 'KV cache: 159744 bytes before eviction, 79872 after', 'not webgpu: '];

interface PackedFile {
  path: string;
  size: number;
}

/** Packs the package and installs it as its users do. The examples lie in the project like those of somebody who copied them. */
function install(): Project {
  if (!existsSync(path.join(ROOT, 'dist/cli.js'))) fail('dist is not there: npm run build makes it');
  const temporary = mkdtempSync(path.join(tmpdir(), 'skip-vision-package-'));
  try {
    const folder = path.join(temporary, 'mit Ümlaut ü');
    mkdirSync(folder);
    const { stdout } = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary], ROOT);
    const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: PackedFile[] }];
    const tarball = path.join(temporary, filename);
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--omit=optional', tarball], folder);
    const installed = path.join(folder, 'node_modules/skip-vision');
    const examples = path.join(folder, 'examples');
    for (const name of ['node', 'deno', 'browser'])
      cpSync(path.join(ROOT, 'examples', name), path.join(examples, name), { recursive: true });
    cpSync(path.join(installed, 'examples/tiny-vlm/skip'), path.join(examples, 'tiny-vlm/skip'), { recursive: true });
    for (const name of ['000.png', '001.png'])
      cpSync(path.join(ROOT, 'examples/tiny-vlm/eval', name), path.join(examples, 'tiny-vlm/eval', name));
    return { root: ROOT, temporary, folder, installed, tarball, files };
  } catch (error) {
    rmSync(temporary, { recursive: true });
    throw error;
  }
}

function checkSizes({ files }: Project): string {
  const sum = (chosen: readonly PackedFile[]) => chosen.reduce((bytes, { size }) => bytes + size, 0);
  const sizes = { core: sum(files.filter((file) => !file.path.startsWith('examples/'))), all: sum(files) };
  for (const [part, limit] of Object.entries(LIMITS)) {
    const size = sizes[part as keyof typeof LIMITS];
    if (size >= limit) fail(`${part} has ${size} bytes, the limit is ${limit}`);
  }
  return `core ${sizes.core}, all ${sizes.all} bytes`;
}

/** Nothing of the workshop may be in the tarball; licence and README must be. */
function checkContents({ files, installed }: Project): void {
  const stray = files.filter(
    ({ path: file }) => !/^(dist\/|examples\/|package\.json$|README\.md$|LICENSE$|THIRD_PARTY|CHANGELOG\.md$)/.test(file),
  );
  if (stray.length > 0) fail(`it has ${stray.map((file) => file.path).join(', ')}`);
  for (const wanted of [
    'README.md',
    'LICENSE',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/cli.js',
    'examples/tiny-vlm/README.md',
    'examples/tiny-vlm/skip/model.safetensors',
  ]) {
    if (!files.some((file) => file.path === wanted)) fail(`${wanted} is not in it`);
  }
  for (const { path: file } of files.filter((each) => /\.(js|ts)$/.test(each.path))) {
    const text = readFileSync(path.join(installed, file), 'utf8');
    if (text.includes(ROOT)) fail(`${file} names the folder it was built in`);
  }
}

function checkPublint({ root, tarball }: Project): void {
  run(process.execPath, [path.join(root, 'node_modules/publint/src/cli.js'), tarball, '--strict'], root);
}

function expectSample(output: string): void {
  for (const part of SAMPLE) if (!output.includes(part)) fail(`the output lacks "${part}":\n${output}`);
  if (!/^backend: wasm \(simd128/m.test(output)) fail(`the backend is not wasm:\n${output}`);
}

function checkNode(major: number): Check {
  return ({ folder, installed }) => {
    const node = findNode(major);
    expectSample(run(node, ['examples/node/ask.js'], folder).stdout);
    const { stdout } = run(node, ['examples/node/ask.js', 'examples/tiny-vlm/eval/001.png', 'how many umbrella ?'], folder);
    if (!/^answer: [0-4]$/m.test(stdout)) fail(`no number:\n${stdout}`);
    const cli = run(
      node,
      [path.join(installed, 'dist/cli.js'), 'ask', 'examples/tiny-vlm/eval/000.png', 'what is at the bottom left ?'],
      folder,
    );
    if (cli.stdout !== 'lion\n') fail(`the command answers "${cli.stdout}"`);
  };
}

/** With the package `webgpu` of this checkout, on a driver that is here. */
function checkDeviceLoss(): void {
  const [adapter] = installedAdapters();
  if (!adapter && !driverIsChosen) throw new Skip('no Vulkan driver here: build/setup-gpu.sh installs one');
  const { stdout } = run(findNode(24), ['examples/node/device-loss.js'], ROOT, driverEnvironment(adapter ?? 'lavapipe'));
  const parts = ['top left : cat\nthe webgpu device was lost', 'answer: top left : cat , bottom left : lion , bottom right : umbrella'];
  for (const part of parts) if (!stdout.includes(part)) fail(`the output lacks "${part}":\n${stdout}`);
}

function checkDeno({ folder }: Project): void {
  const deno = findDeno();
  expectSample(run(deno, ['run', '--allow-read', '--no-prompt', 'examples/deno/ask.ts'], folder).stdout);
  run(deno, ['check', 'examples/deno/ask.ts'], folder);
}

/** From a folder below the project, with a path nobody quotes right at first. */
function checkCommand({ folder }: Project): void {
  const elsewhere = path.join(folder, 'anderer Ordner');
  mkdirSync(elsewhere);
  cpSync(path.join(folder, 'examples/tiny-vlm/eval/000.png'), path.join(folder, 'ein schönes Bild.png'));
  const npx = ['--no-install', 'skip-vision'];
  const asked = run('npx', [...npx, 'ask', '../ein schönes Bild.png', 'what is at the bottom left ?', '--json'], elsewhere);
  const { answer, stats } = JSON.parse(asked.stdout) as { answer: string; stats: { method: string; promptRows: number } };
  if (answer !== 'lion' || stats.method !== 'skip-vision' || stats.promptRows !== 78) fail(`ask printed ${asked.stdout}`);
  const { stdout } = run('npx', [...npx, 'doctor'], elsewhere);
  const found = [...stdout.matchAll(/^(?:ok|no) {2}(\w+)/gm)].map(([, name]) => name).join(' ');
  if (found !== 'webgpu wasm reference') fail(`doctor printed ${stdout}`);
}

/** A strict TypeScript project that has none of our development types. */
function checkTypes(options: Readonly<Record<string, string>>): Check {
  return ({ root, folder }) => {
    if (readdirSync(path.join(folder, 'node_modules')).includes('@webgpu')) fail('the package brings @webgpu/types along');
    cpSync(path.join(root, 'test/package/consumer.ts'), path.join(folder, 'consumer.ts'));
    const compilerOptions = { strict: true, noEmit: true, types: [], ...options };
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    run(process.execPath, [path.join(root, 'node_modules/typescript/lib/tsc.js'), '--project', '.'], folder);
  };
}

const CHECKS: Readonly<Record<string, Check>> = {
  'the tarball holds what it should': checkContents,
  sizes: checkSizes,
  publint: checkPublint,
  'example under Node 24': checkNode(24),
  'example under Node 20': checkNode(20),
  'example under Deno': checkDeno,
  'example that loses its GPU': checkDeviceLoss,
  'example in Chromium': (project) => checkPage(project, { isolated: false, csp: false }),
  'example in Chromium, isolated': (project) => checkPage(project, { isolated: true, csp: false }),
  'example in Chromium, isolated, strict CSP': (project) => checkPage(project, { isolated: true, csp: true }),
  ...README_CHECKS,
  'npx skip-vision, from another folder': checkCommand,
  'threads find their worker file': checkThreads,
  'kernels and backends import no package': checkImports,
  'weight of bundles': checkWeights,
  'types, moduleResolution bundler': checkTypes({ module: 'esnext', moduleResolution: 'bundler' }),
  'types, moduleResolution node16': checkTypes({ module: 'node16', moduleResolution: 'node16' }),
};

const totals = { passed: 0, failed: 0, skipped: 0 };

/** Runs a check and tells how it went; returns what it gave. */
async function attempt<T>(name: string, work: () => T | Promise<T>): Promise<T | undefined> {
  const count = (status: keyof typeof totals, words: string, message?: string) => {
    totals[status]++;
    note({ [status]: 1, message });
    console.log(words);
  };
  try {
    const result = await work();
    count('passed', `ok ${name}${typeof result === 'string' ? ` (${result})` : ''}`);
    return result;
  } catch (error) {
    const message = `${name}: ${error instanceof Error ? error.message : String(error)}`;
    if (error instanceof Skip) count('skipped', `skipped ${message}`, message);
    else count('failed', `FAILED ${message.replaceAll('\n', '\n  ')}`, message);
    return undefined;
  }
}

const checks = Object.entries(CHECKS);
note({ now: 'packing and installing it' });
const project = await attempt(`pack and install (without it ${checks.length} checks cannot run)`, install);
try {
  for (const [i, [name, check]] of project ? checks.entries() : []) {
    note({ now: `check ${i + 1} of ${checks.length}: ${name}` });
    await attempt(name, () => check(project!));
  }
} finally {
  if (project) rmSync(project.temporary, { recursive: true });
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;
