/** The snippets of the README, each run in the installed project as somebody would who copied it. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findDeno, findNode, run } from './command.ts';
import { inPage } from './page.ts';
import { type Check, fail, type Project } from './project.ts';

/** What the bundled toy model says to the question of the snippets. */
const ANSWER = 'cactus';

interface Snippet {
  heading: string;
  language: string;
  code: string;
}

/** The fenced blocks in languages that run, with the headings they stand under. */
function readSnippets({ installed }: Project): Snippet[] {
  const snippets: Snippet[] = [];
  let heading = '';
  const pattern = /^#+ (?<title>[^\n]*)$|^```(?<language>\w+)\n(?<code>.*?)^```$/gms;
  for (const { groups = {} } of readFileSync(path.join(installed, 'README.md'), 'utf8').matchAll(pattern)) {
    if (groups.title !== undefined) heading = groups.title;
    else if (['js', 'ts', 'html'].includes(groups.language!)) snippets.push({ heading, language: groups.language!, code: groups.code! });
  }
  return snippets;
}

/** Writes the only snippet under a heading into the project; returns the name of the file. */
function place(project: Project, heading: string, language: string): string {
  const found = readSnippets(project).filter((each) => each.heading === heading);
  if (found.length !== 1 || found[0]!.language !== language) fail(`under "${heading}" there is not one block of ${language}`);
  const file = `${heading.replaceAll(' ', '-')}.${language}`;
  writeFileSync(path.join(project.folder, file), found[0]!.code);
  return file;
}

function expectLine(stdout: string, line: string): void {
  if (stdout !== `${line}\n`) fail(`it prints "${stdout}", expected "${line}"`);
}

function underNode(major: number, heading: string, line: string): Check {
  return (project) => expectLine(run(findNode(major), [place(project, heading, 'js')], project.folder).stdout, line);
}

function underDeno(project: Project): void {
  const file = place(project, 'Deno', 'ts');
  expectLine(run(findDeno(), ['run', '--allow-read', '--no-prompt', file], project.folder).stdout, ANSWER);
}

function inChromium(project: Project): Promise<void> {
  const file = place(project, 'Browser', 'html');
  appendFileSync(path.join(project.folder, file), '<link rel="icon" href="data:,">'); // else the browser asks for one, and gets 404
  return inPage(project.folder, ['.'], async (page, server) => {
    await page.goto(new URL(`/${file}`, server).href);
    await page.waitForFunction(() => document.title !== '');
    const title = await page.title();
    if (title !== ANSWER) fail(`the title becomes "${title}"`);
  });
}

/** A block under another heading runs nowhere: it needs a check here. */
function allAreRun(project: Project): void {
  const headings = readSnippets(project).map(({ heading }) => heading);
  if (headings.join() !== 'Node,Deno,Browser,Kernels alone') fail(`the README has blocks of code under ${headings.join(', ')}`);
}

const NODE_LINE = `${ANSWER} 78 39 159744 79872`;

export const README_CHECKS: Readonly<Record<string, Check>> = {
  'README: every block of code is run': allAreRun,
  'README, Node, under Node 24': underNode(24, 'Node', NODE_LINE),
  'README, Node, under Node 20': underNode(20, 'Node', NODE_LINE),
  'README, Deno': underDeno,
  'README, Browser, in Chromium': inChromium,
  'README, Kernels alone, under Node 24': underNode(24, 'Kernels alone', '128'),
  'README, Kernels alone, under Node 20': underNode(20, 'Kernels alone', '128'),
};
