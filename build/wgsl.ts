/**
 * Kernels as modules, for the build, the tests and plain Node alike. A .wgsl file is a piece: its text and the pieces that it includes,
 * each by a line `#include "name.wgsl"`. As a module it imports those, so that a bundle has each text once, and drops what no kernel needs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { paramsOf } from '../src/backend/webgpu/kernel.ts';

const INCLUDE = /^#include "([\w.-]+\.wgsl)"$/m;

/** Text and names of included files by turns, as they stand in the file. */
function partsOf(file: string): string[] {
  const parts = readFileSync(file, 'utf8').split(INCLUDE);
  const stray = /^\s*#.*/m.exec(parts.filter((_, i) => i % 2 === 0).join('\n'));
  if (stray) throw new Error(`${file}: ${stray[0].trim()} is no line like #include "name.wgsl"`);
  return parts;
}

/** A file and all that it includes, each once, in the order in which a kernel is made of them. */
function filesOf(file: string, from: readonly string[] = [], found = new Set<string>()): Set<string> {
  if (from.includes(file)) throw new Error(`${[...from, file].map((each) => path.basename(each)).join(' includes ')}: a circle`);
  const names = partsOf(file).filter((_, i) => i % 2 === 1);
  for (const name of names) {
    const included = path.join(path.dirname(file), name);
    try {
      filesOf(included, [...from, file], found);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
      throw new Error(`${file} includes ${name}, which is not there`, { cause });
    }
  }
  return found.add(file);
}

/** The module of a file: a `GpuKernel`, named after it. Nothing in it runs, so that bundlers may leave it out. */
export function wgslModule(file: string, minified = false): string {
  filesOf(file);
  const imports: string[] = [];
  const pieces = partsOf(file).map((part, i) => {
    if (i % 2 === 0) return JSON.stringify(minified ? minifyWgsl(part) : part);
    imports.push(`import piece${i} from ${JSON.stringify(`./${part}`)};`);
    return `piece${i}`;
  });
  const filled = pieces.filter((piece) => !/^"(\\n|\s)*"$/.test(piece));
  return `${imports.join('')}export default{name:${JSON.stringify(path.basename(file, '.wgsl'))},pieces:[${filled.join()}]};`;
}

/** Declares every .wgsl file of the folders with the names of its params, so that the compiler knows them. */
export function wgslTypes(folders: readonly string[]): string {
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => path.join(folder, name)));
  const lines = files
    .filter((file) => file.endsWith('.wgsl'))
    .map((file) => {
      const code = [...filesOf(file)].map((each) => readFileSync(each, 'utf8')).join('\n');
      const names = paramsOf(path.basename(file), code).map(({ name }) => `'${name}'`);
      const kernel = `import('../src/backend/webgpu/kernel.ts').GpuKernel<${names.join(' | ') || 'never'}>`;
      return `declare module '*/${path.basename(file)}' { const kernel: ${kernel}; export default kernel }`;
    });
  return `// Written by build/compile.ts: the params of every kernel.\n${lines.sort().join('\n')}\n`;
}

const COMMENTS = /\/\/.*|\/\*[\s\S]*?\*\//g;
const BRACKETS = / *([(){}[\],;:]) */g;
/** Between names, numbers and brackets. Where two operators meet, as in `a - -b`, the whitespace tells them apart. */
const OPERATORS = /(?<=[\w)\]]) *([-+*/%&|^<>=!]+) *(?=[\w(])/g;

/** WGSL as the package ships it: the same tokens in fewer bytes. Lines stay lines, as a driver's messages name them. */
export function minifyWgsl(source: string): string {
  const lines = source.replace(COMMENTS, ' ').split('\n');
  return lines.map(minifyLine).filter(Boolean).join('\n');
}

function minifyLine(line: string): string {
  return line.replace(/\s+/g, ' ').replace(BRACKETS, '$1').replace(OPERATORS, '$1').trim();
}
