/** build/check-house.ts: each fault planted in a small tree is found, and a tree without faults has none. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkHouse, checkLengths, type Fault } from '../../build/check-house.ts';

const CLEAN: Readonly<Record<string, string>> = {
  'assembly/index.ts': `export * from './rope';`,
  'assembly/rope.ts': `import { add } from './simd';`,
  'assembly/simd.ts': '',
  'kernels/rope.wgsl': '',
  'src/index.ts': `export * from './model/vlm.ts'; export * from './methods/none.ts'; export * from './backend/select.ts';`,
  'src/cli/doctor.ts': `import { device } from '../backend/webgpu/driver.ts';`,
  'src/backend/backend.ts': '// takes a GPUBuffer or what skip-vision/ops made; SkipVisionError otherwise\n',
  'src/backend/select.ts': `const open = () => import('./webgpu/driver.ts'); import type { Backend } from './backend.ts';`,
  'src/backend/wasm/driver.ts': `import '../backend.ts'; import bytes from '../../../build/wasm/kernels.deflate';`,
  'src/backend/webgpu/driver.ts': `import '../backend.ts'; export let device: GPUDevice;`,
  'src/ops/rope.ts': `import wgsl from '../../kernels/rope.wgsl'; import { gpu } from '../backend/webgpu/driver.ts';`,
  'src/ops/product/tiles.ts': `import '../../backend/wasm/driver.ts'; // rows mod 4 is fine here\n`,
  'src/model/files/json.ts': `import '../../backend/backend.ts';`,
  'src/model/stack/stack.ts': `import '../../ops/product/tiles.ts'; // modulo, modest, academic, skip at\n`,
  'src/model/families/llava.ts': `import '../stack/stack.ts'; import '../files/json.ts';`,
  'src/model/vlm.ts': `import './families/index.ts'; import './stack/stack.ts';`,
  'src/model/families/index.ts': `import './llava.ts';`,
  'src/methods/none.ts': `import type { Method } from '../model/stack/stack.ts';`,
};

let root = '';
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'skip-vision-house-'));
  for (const [file, text] of Object.entries(CLEAN)) put(file, text);
});
afterEach(() => rmSync(root, { recursive: true }));

function put(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}

test('a house in order has no faults', () => {
  expect(checkHouse(root)).toEqual({ faults: [], lines: 3 });
});

/** Kind of fault, the file it is in, the text that brings it in, and what the message must say. */
const PLANTED: readonly (readonly [Fault['kind'], string, string, string])[] = [
  ['arrow', 'src/backend/check.ts', `import '../ops/rope.ts';`, 'src/ops/rope.ts'],
  ['arrow', 'src/backend/wasm/race.ts', `import type { Tile } from '../../ops/product/tiles.ts';`, 'src/ops/product/tiles.ts'],
  ['arrow', 'src/backend/wasm/race.ts', `import '../webgpu/driver.ts';`, 'src/backend/webgpu/driver.ts'],
  ['arrow', 'src/backend/backend2.ts', `export * from '../model/files/json.ts';`, 'src/model/files/json.ts'],
  ['arrow', 'src/ops/sum.ts', `const stack = await import('../model/stack/stack.ts');`, 'src/model/stack/stack.ts'],
  ['arrow', 'src/model/stack/run.ts', `import '../../methods/none.ts';`, 'src/methods/none.ts'],
  ['arrow', 'src/model/stack/run.ts', `import '../families/index.ts';`, 'src/model/families/index.ts'],
  ['arrow', 'src/model/stack/run.ts', `import '../vlm.ts';`, 'src/model/vlm.ts'],
  ['arrow', 'src/model/stack/run.ts', `import '../../backend/webgpu/driver.ts';`, 'src/backend/webgpu/driver.ts'],
  ['arrow', 'src/model/families/other.ts', `import '../../methods/none.ts';`, 'src/methods/none.ts'],
  ['arrow', 'src/methods/fastv.ts', `import '../model/families/index.ts';`, 'src/model/families/index.ts'],
  ['arrow', 'assembly/sum.ts', `import { RESERVED } from '../src/backend/backend';`, 'src/backend/backend.ts'],
  ['room', 'src/extra/new.ts', '', 'ROOMS'],
  ['circle', 'src/ops/sum.ts', `import './sum.ts';`, 'src/ops/sum.ts -> src/ops/sum.ts'],
  ['circle', 'assembly/simd.ts', `import { rope } from './rope';`, 'assembly/rope.ts -> assembly/simd.ts -> assembly/rope.ts'],
  ['gpu', 'src/model/vlm.ts', 'export function show(buffer: GPUBuffer) {}', 'GPUBuffer'],
  ['gpu', 'src/backend/select.ts', 'const usage = GPUBufferUsage.STORAGE;', 'GPUBufferUsage'],
  ['name', 'src/backend/check.ts', '// as FastV does', 'FastV'],
  ['name', 'src/backend/wasm/race.ts', 'const skipVision = 1;', 'skipVision'],
  ['name', 'src/model/stack/run.ts', '// Skip-Vision drops them', 'Skip-Vision'],
  ['name', 'src/model/stack/run.ts', 'type A = LlavaConfig;', 'Llava'],
  ['name', 'src/model/stack/run.ts', '// MoD runs some', 'MoD'],
  ['name', 'src/model/vlm.ts', 'const smolVlm = 2;', 'smolVlm'],
  ['name', 'src/model/generate.ts', `const name = 'lfm2_vl';`, 'lfm2'],
  ['lines', 'kernels/long.wgsl', '\n'.repeat(351), '351 lines, the limit is 350'],
];

test.each(PLANTED)('%s: %s with %s', (kind, file, text, words) => {
  put(file, text);
  const { faults } = checkHouse(root);
  expect(faults.map((fault) => fault.kind)).toEqual([kind]);
  expect(faults[0]!.text).toContain(words);
});

test('a knot of several circles is one fault', () => {
  put('src/ops/a.ts', `import './b.ts'; import './c.ts';`);
  put('src/ops/b.ts', `import './a.ts';`);
  put('src/ops/c.ts', `import type { A } from './a.ts';`);
  expect(checkHouse(root).faults).toMatchObject([{ kind: 'circle', file: 'src/ops/a.ts' }]);
});

test('too many lines in all, and a long test', () => {
  for (let i = 0; i < 50; i++) put(`src/ops/op${i}.ts`, '\n'.repeat(344));
  expect(checkHouse(root).faults).toMatchObject([{ kind: 'lines', file: 'src,assembly,kernels' }]);
  put('test/long.test.ts', '\n'.repeat(400));
  expect(checkLengths(root, ['test', 'examples'])).toMatchObject([{ kind: 'lines', file: 'test/long.test.ts' }]);
});
