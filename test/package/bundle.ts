/** What bundlers and other readers of the built files find. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import ts from 'typescript';
import { minifyWgsl } from '../../build/wgsl.ts';
import { fail, type Project } from './project.ts';

/** The built files behind the subpaths of `exports` that start so. */
function entries({ installed }: Project, prefixes: readonly string[]): string[] {
  const { exports } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string }>;
  };
  const chosen = Object.entries(exports).filter(([subpath]) => prefixes.some((prefix) => subpath.startsWith(prefix)));
  return chosen.map(([, target]) => path.join(installed, target.default));
}

/** Kernels and backends are for authors of other engines: they must come without anybody else's code. */
export function checkImports(project: Project): string {
  const waiting = entries(project, ['./ops', './backend/']);
  if (waiting.length < 4) fail(`only ${waiting.length} entries were found`);
  const seen = new Set<string>();
  for (let file = waiting.pop(); file; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const { fileName } of ts.preProcessFile(readFileSync(file, 'utf8'), true, true).importedFiles) {
      if (!fileName.startsWith('.')) fail(`${path.relative(project.installed, file)} imports ${fileName}`);
      waiting.push(path.resolve(path.dirname(file), fileName));
    }
  }
  return `${seen.size} files`;
}

interface Bundle {
  /** The code of the entry and of what it imports at its start, a text for each file. */
  first: readonly string[];
  /** Of what it may load later, by the names of the modules that are loaded so. */
  later: ReadonlyMap<string, readonly string[]>;
}

/** Bundles as a web app is: minified, what is imported on demand in files of its own. */
export async function bundle({ folder }: Project, contents: string, apart: readonly string[] = []): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: folder },
    absWorkingDir: folder,
    outdir: folder,
    bundle: true,
    minify: true,
    splitting: true,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    external: ['node:*', 'webgpu', ...apart],
    write: false,
    logLevel: 'silent',
  });
  const texts = new Map(outputFiles.map(({ path: file, text }) => [path.relative(folder, file), text]));
  const closure = (start: string, found = new Set<string>()): Set<string> => {
    if (found.has(start)) return found;
    found.add(start);
    const { imports } = metafile.outputs[start]!;
    for (const each of imports) if (each.kind === 'import-statement' && !each.external) closure(each.path, found);
    return found;
  };
  const [entry] = [...texts.keys()].filter((file) => metafile.outputs[file]!.entryPoint === '<stdin>');
  const first = closure(entry!);
  const later = Object.entries(metafile.outputs).filter(([file, { entryPoint }]) => entryPoint && file !== entry);
  const textsOf = (files: Iterable<string>) => Array.from(files, (file) => texts.get(file)!);
  return {
    first: textsOf(first),
    later: new Map(later.map(([file, { entryPoint }]) => [entryPoint!, textsOf([...closure(file)].filter((each) => !first.has(each)))])),
  };
}

/** A line of every kernel of `ops` (`rms-norm`) that no other op's kernels have, by op: what tells that a bundle contains it. */
export function kernelMarks({ root }: Project, ops: readonly string[]): Map<string, string[]> {
  const folder = path.join(root, 'kernels');
  const kernels = readdirSync(folder).map((file) => ({
    op: file.split('.')[0]!,
    lines: codeLines(readFileSync(path.join(folder, file), 'utf8')),
  }));
  const marks = new Map<string, string[]>();
  for (const { op, lines } of kernels.filter((each) => ops.includes(each.op))) {
    const others = new Set(kernels.filter((each) => each.op !== op).flatMap((each) => each.lines));
    const mark = lines.find((line) => line.length > 20 && !others.has(line));
    if (mark) marks.set(op, [...(marks.get(op) ?? []), mark]);
  }
  return marks;
}

/** Lines as they may stand in a bundle: without those that a string literal escapes. */
function codeLines(wgsl: string): string[] {
  return minifyWgsl(wgsl)
    .split('\n')
    .filter((line) => !/["'`\\]/.test(line));
}
