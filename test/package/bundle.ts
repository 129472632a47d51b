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

async function bundle({ folder }: Project, contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

/** A line of code of every kernel that no other op's kernels have, by op: what tells that a bundle contains it. */
function kernelMarks({ root }: Project): Map<string, string[]> {
  const folder = path.join(root, 'kernels');
  const kernels = readdirSync(folder).map((file) => ({
    op: file.split('.')[0]!,
    lines: codeLines(readFileSync(path.join(folder, file), 'utf8')),
  }));
  const marks = new Map<string, string[]>();
  for (const { op, lines } of kernels) {
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

/** rmsNorm with the reference backend must not bring the kernels of merge. Tells what a bundle of one op weighs. */
export async function checkTreeShaking(project: Project): Promise<string> {
  const marks = kernelMarks(project);
  const has = (text: string, op: string) => marks.get(op)?.some((mark) => text.includes(mark)) ?? false;
  const all = await bundle(project, `import * as ops from 'skip-vision/ops'; console.log(ops);`);
  const ops = [...marks.keys()].filter((op) => has(all, op));
  if (!ops.includes('merge') || !ops.includes('rms-norm'))
    fail(`the bundle of all ops has the kernels of ${ops.join(', ')} only: this check is blind`);

  const text = await bundle(
    project,
    `import { rmsNorm } from 'skip-vision/ops'; import { createReferenceBackend } from 'skip-vision/backend/reference';
     console.log(rmsNorm, createReferenceBackend());`,
  );
  if (!has(text, 'rms-norm')) fail('the kernel of rms-norm itself is missing');
  if (has(text, 'merge')) fail('rmsNorm brings the kernels of merge along');
  const rope = await bundle(project, `import { rope } from 'skip-vision/ops'; console.log(rope);`);
  const brought = ops.filter((op) => op !== 'rope' && has(rope, op));
  const note = brought.length > 0 ? `; rope alone has ${rope.length}, with the kernels of ${brought.join(', ')}` : '';
  return `rmsNorm and the reference backend: ${text.length} bytes${note}`;
}
