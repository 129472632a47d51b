/**
 * `npm run bench:bundle -- [OUT.tar.xz] [--cases DIR]... [--peers DIR]`: everything that runs the conformance cases, the WebGPU
 * benchmark and a sweep of tiles on an x86-64 Linux machine that has an NVIDIA driver and nothing else: no network, no Node, no
 * Vulkan loader. Needs npm, tar and xz; with apt-get also the loader and the libraries of X and GL that the driver links.
 * There: `tar xJf ...`, then `bash gpu-bundle/run.sh`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const root = resolve(import.meta.dirname, '../../..');
const NAME = 'gpu-bundle';
const MOST_BYTES = 60_000_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cases: { type: 'string', multiple: true }, peers: { type: 'string' } },
});
const output = resolve(positionals[0] ?? join(root, 'build/test', `${NAME}.tar.xz`));
const cases = values.cases ?? ['core', 'skip_vision'].map((name) => join(root, 'test/fixtures/cases', name));

/** What of the repository runs there. */
const SOURCES = ['package.json', 'LICENSE', 'src', 'kernels', 'build/wasm', 'build/wgsl.ts', 'test'];
const NOT_TESTED = ['unit', 'fixtures', 'golden', 'package', 'portable', 'suites'];

/** Packages, and which of their files; all without. Their dependencies are listed too: most of what they name is not needed. */
const PACKAGES: Readonly<Record<string, readonly string[] | undefined>> = {
  webgpu: ['index.js', 'dist/linux-x64'],
  benchmark: ['benchmark.js'],
  lodash: ['lodash.js'],
  platform: ['platform.js'],
  '@huggingface/tokenizers': ['dist/tokenizers.mjs'],
  'fast-png': undefined,
  fflate: undefined,
  iobuffer: undefined,
  'jpeg-js': undefined,
  'onnxruntime-web': ['dist/ort.webgpu.bundle.min.mjs', 'dist/ort-wasm-simd-threaded.asyncify.wasm'],
};
/** Peers that are packed where they can be had: what is missing is a line under the tables. */
const OPTIONAL: Readonly<Record<string, readonly string[] | undefined>> = {
  'onnxruntime-node': ['dist', 'bin/napi-v6/linux/x64'],
  'onnxruntime-common': ['dist/cjs'],
  '@tensorflow/tfjs-core': ['dist/tf-core.node.js'],
  '@tensorflow/tfjs-backend-cpu': ['dist/tf-backend-cpu.node.js'],
  '@tensorflow/tfjs-backend-webgpu': ['dist/tf-backend-webgpu.node.js'],
  long: undefined,
  seedrandom: undefined,
  'node-fetch': undefined,
  'whatwg-url': undefined,
  tr46: undefined,
  'webidl-conversions': undefined,
  '@jax-js/jax': ['dist'],
};
const PEERS_TO_INSTALL = [
  'onnxruntime-node@1.30.0',
  '@tensorflow/tfjs-core@4.22.0',
  '@tensorflow/tfjs-backend-webgpu@4.22.0',
  '@jax-js/jax@0.1.25',
];
const USELESS = /\.(map|d\.ts|d\.cts|d\.mts|md)$/;

/** The Vulkan loader, and what libGLX_nvidia and libEGL_nvidia link; run.sh uses what the machine lacks. */
const DEBS = [
  'libvulkan1',
  'libglvnd0',
  'libegl1',
  'libglx0',
  'libgl1',
  'libx11-6',
  'libxext6',
  'libxcb1',
  'libxau6',
  'libxdmcp6',
  'libbsd0',
  'libmd0',
];

const work = mkdtempSync(join(tmpdir(), `${NAME}-`));
try {
  const bundle = join(work, NAME);
  mkdirSync(join(bundle, 'lib'), { recursive: true });
  copySources(bundle);
  copyPackages(bundle, values.peers ? resolve(values.peers) : installPeers(join(work, 'peers')));
  copyNode(bundle);
  copyLibraries(join(bundle, 'lib'), join(work, 'debs'));
  compress(bundle);
} finally {
  rmSync(work, { recursive: true });
}

function copySources(bundle: string): void {
  execFileSync(process.execPath, [join(root, 'build/compile.ts')], { stdio: 'inherit' });
  for (const source of SOURCES) {
    const excluded = NOT_TESTED.map((name) => join(root, 'test', name));
    cpSync(join(root, source), join(bundle, source), { recursive: true, filter: (path) => !excluded.includes(path) });
  }
  for (const folder of cases) cpSync(folder, join(bundle, 'cases', basename(folder)), { recursive: true });
  cpSync(join(import.meta.dirname, 'run.sh'), join(bundle, 'run.sh'));
}

function installPeers(folder: string): string {
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...PEERS_TO_INSTALL];
  const { status } = spawnSync('npm', args, { cwd: folder, stdio: 'inherit' });
  if (status !== 0) console.error('the peers could not be installed: only what is here already is packed');
  return folder;
}

function copyPackages(bundle: string, peers: string): void {
  const modules = [join(peers, 'node_modules'), join(root, 'node_modules')];
  for (const [name, files] of Object.entries({ ...PACKAGES, ...OPTIONAL })) {
    const from = modules.map((folder) => join(folder, name)).find((folder) => existsSync(folder));
    if (!from && name in OPTIONAL) console.error(`not packed: ${name} is not installed`);
    else if (!from) throw new Error(`${name} is not installed: run npm ci first`);
    if (!from) continue;
    const to = join(bundle, 'node_modules', name);
    for (const file of files ? ['package.json', ...files] : ['']) {
      cpSync(join(from, file), join(to, file), { recursive: true, dereference: true, filter: (path) => !USELESS.test(path) });
    }
  }
  strip(join(bundle, 'node_modules/webgpu/dist/linux-x64/dawn.node'));
}

function copyNode(bundle: string): void {
  const node = join(root, 'node_modules/node/bin/node');
  cpSync(existsSync(node) ? node : process.execPath, join(bundle, 'node'), { dereference: true });
  strip(join(bundle, 'node'));
}

/** Symbols are a sixth of it; without binutils they stay. */
function strip(file: string): void {
  spawnSync('strip', ['--strip-unneeded', file]);
}

function copyLibraries(lib: string, debs: string): void {
  mkdirSync(debs);
  for (const name of DEBS) {
    const { status } = spawnSync('apt-get', ['download', '-qq', name], { cwd: debs, stdio: 'ignore' });
    if (status !== 0) console.error(`not packed: ${name}, needed only where the machine lacks it`);
  }
  for (const file of readdirSync(debs)) execFileSync('dpkg', ['-x', file, 'tree'], { cwd: debs });
  if (!existsSync(join(debs, 'tree'))) return;
  for (const file of readdirSync(join(debs, 'tree'), { recursive: true, withFileTypes: true })) {
    // libX11.so.6.4.0 is asked for as libX11.so.6
    const short = /^(lib.+\.so\.\d+)(\.\d+)*$/.exec(file.name)?.[1];
    if (short && file.isFile()) cpSync(join(file.parentPath, file.name), join(lib, short));
  }
}

function compress(bundle: string): void {
  mkdirSync(dirname(output), { recursive: true });
  execFileSync('nice', ['-n', '10', 'tar', '-cJf', output, '-C', dirname(bundle), NAME], { env: { ...process.env, XZ_OPT: '-6 -T1' } });
  const { size } = statSync(output);
  const unpacked = readdirSync(bundle, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  console.log(`${output}: ${size} bytes, ${unpacked} unpacked, skip-vision ${version}`);
  if (size > MOST_BYTES) throw new Error(`larger than ${MOST_BYTES} bytes`);
}
