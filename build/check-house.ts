/** Checks that the house stands as DESIGN section 3 draws it: who imports whom, no circles, no names below, no file too long. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export interface Fault {
  kind: 'arrow' | 'circle' | 'gpu' | 'lines' | 'name' | 'room';
  /** Of a circle the first of its files. */
  file: string;
  text: string;
}

const MODEL = ['families', 'files', 'image', 'stack', 'text'].map((room) => `src/model/${room}`);
const GROUND = ['src/backend', 'src/ops'];

/** Folders and what their files may import besides each other, to whatever depth unless a longer name stands here. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  assembly: [],
  src: ['src'],
  'src/cli': ['src'],
  'src/backend': ['src/backend/reference', 'src/backend/wasm', 'src/backend/webgpu'],
  'src/backend/reference': ['src/backend'],
  'src/backend/wasm': ['src/backend', 'build/wasm'],
  'src/backend/webgpu': ['src/backend', 'kernels'],
  'src/ops': ['src/backend', 'src/backend/wasm', 'src/backend/webgpu', 'kernels'],
  'src/model/files': GROUND,
  'src/model/image': [...GROUND, 'src/model/files'],
  'src/model/text': [...GROUND, 'src/model/files'],
  'src/model/stack': GROUND,
  'src/model/families': [...GROUND, ...MODEL],
  'src/model': [...GROUND, ...MODEL, 'src/cost'],
  'src/methods': [...GROUND, 'src/model/stack', 'src/model/files', 'src/cost'],
  'src/cost': [...GROUND, 'src/model/stack'],
};

/** Where no method and no family has a name. */
const NAMELESS = ['src/backend', 'src/model/stack', 'src/model/vlm.ts', 'src/model/generate.ts'];
/** `mod`, `skipat` and `adem` are parts of other words. The package and its error have a method's name, too. */
const NAMES = new RegExp(
  [
    'skip[-_ ]?vision(?!Error|/| error)',
    '(?<![a-z])(mod|skip-?at|adem|adem-?vl)(?![a-z])',
    'fast-?v(?![a-z])',
    'dymu|smart-?trim|vistog|vecaf',
    'llava|idefics|smolvlm|internvl|lfm2|qwen|gemma|moondream|florence|phi-?3',
  ].join('|'),
  'i',
);

const GPU_OBJECT = /^GPU[A-Z]/;
const MAY_TOUCH_GPU = ['src/backend/webgpu', 'src/ops'];

const COUNTED = ['src', 'assembly', 'kernels'];
const LINES = { file: 350, sum: 17_200 };

export function checkHouse(root: string): { faults: Fault[]; lines: number } {
  const sources = new Map(
    COUNTED.flatMap((folder) => filesIn(root, folder)).map((file) => [file, readFileSync(path.join(root, file), 'utf8')]),
  );
  const imports = new Map([...sources].filter(([file]) => file.endsWith('.ts')).map(([file, text]) => [file, importsOf(root, file, text)]));
  const counts = new Map([...sources].map(([file, text]) => [file, text.split('\n').length - 1]));
  const lines = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const faults = [
    ...[...imports].flatMap(([file, targets]) => arrows(file, targets)),
    ...circles(imports),
    ...[...sources].flatMap(([file, text]) => [...names(file, text), ...gpuObjects(file, text)]),
    ...tooLong(counts),
  ];
  const sum: Fault = { kind: 'lines', file: COUNTED.join(), text: `${COUNTED.join(', ')} have ${lines} lines, the limit is ${LINES.sum}` };
  return { faults: lines > LINES.sum ? [...faults, sum] : faults, lines };
}

/** Files of the tools and tests, for which only the length is checked. */
export function checkLengths(root: string, folders: readonly string[]): Fault[] {
  const files = folders.flatMap((folder) => filesIn(root, folder));
  return tooLong(new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8').split('\n').length - 1])));
}

function filesIn(root: string, folder: string): string[] {
  if (!existsSync(path.join(root, folder))) return [];
  const names = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => /\.(ts|wgsl)$/.test(name))
    .map((name) => path.posix.join(folder, name.replaceAll('\\', '/')))
    .sort();
}

/** The project's own files that a file imports, types included. AssemblyScript leaves the extension out. */
function importsOf(root: string, file: string, text: string): string[] {
  const relative = ts.preProcessFile(text, true, true).importedFiles.filter(({ fileName }) => fileName.startsWith('.'));
  return relative.map(({ fileName }) => {
    const target = path.posix.join(path.posix.dirname(file), fileName);
    return existsSync(path.join(root, `${target}.ts`)) ? `${target}.ts` : target;
  });
}

/** The longest name among the rooms that the file stands in. */
function roomOf(file: string): string | undefined {
  const rooms = [...Object.keys(ROOMS), 'kernels', 'build/wasm'].filter((room) => file.startsWith(`${room}/`));
  return rooms.sort((a, b) => b.length - a.length)[0];
}

function arrows(file: string, targets: readonly string[]): Fault[] {
  const room = roomOf(file)!;
  const isNew = room === 'src' && path.posix.dirname(file) !== 'src';
  if (isNew) return [{ kind: 'room', file, text: `${file}: ROOMS of build/check-house.ts does not say what this folder may import` }];
  const strays = targets.filter((target) => {
    const to = roomOf(target);
    return to !== room && !ROOMS[room]!.some((allowed) => to === allowed || (allowed === 'src' && to?.startsWith('src/')));
  });
  return strays.map((target) => ({ kind: 'arrow', file, text: `${file} imports ${target}, which ${room} must not` }));
}

/** A shortest circle through the first file of every knot of files that import each other. */
function circles(imports: ReadonlyMap<string, readonly string[]>): Fault[] {
  const faults: Fault[] = [];
  const told = new Set<string>();
  for (const file of [...imports.keys()].sort()) {
    const way = told.has(file) ? undefined : wayFrom(file, file, imports);
    if (!way) continue;
    for (const each of imports.keys()) if (wayFrom(file, each, imports) && wayFrom(each, file, imports)) told.add(each);
    faults.push({ kind: 'circle', file, text: `a circle of imports: ${way.join(' -> ')}` });
  }
  return faults;
}

/** A shortest way by imports, both ends included. */
function wayFrom(from: string, to: string, imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const ways: string[][] = [[from]];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const next of imports.get(way.at(-1)!) ?? []) {
      if (next === to) return [...way, next];
      if (!seen.has(next)) ways.push([...way, next]);
      seen.add(next);
    }
  }
  return undefined;
}

function isUnder(file: string, places: readonly string[]): boolean {
  return places.some((place) => file === place || file.startsWith(`${place}/`));
}

function names(file: string, text: string): Fault[] {
  if (!isUnder(file, NAMELESS)) return [];
  return text.split('\n').flatMap((line, i): Fault[] => {
    const [name] = NAMES.exec(line) ?? [];
    return name ? [{ kind: 'name', file, text: `${file}:${i + 1} names ${name}: ${line.trim()}` }] : [];
  });
}

/** Types of GPU objects are global, so that no import tells of them. */
function gpuObjects(file: string, text: string): Fault[] {
  if (!file.endsWith('.ts') || isUnder(file, MAY_TOUCH_GPU)) return [];
  const found = new Set<string>();
  const visit = (node: ts.Node) => {
    if (ts.isIdentifier(node) && GPU_OBJECT.test(node.text)) found.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
  return [...found].map((name) => ({ kind: 'gpu', file, text: `${file} touches a ${name}: that is for ${MAY_TOUCH_GPU.join(' and ')}` }));
}

function tooLong(counts: ReadonlyMap<string, number>): Fault[] {
  const long = [...counts].filter(([, count]) => count > LINES.file);
  return long.map(([file, count]) => ({ kind: 'lines', file, text: `${file} has ${count} lines, the limit is ${LINES.file}` }));
}
