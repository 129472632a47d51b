/** How WGSL files become kernels: what they include, what the build leaves out of them, and what is read off them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { minifyWgsl, wgslModule, wgslTypes } from '../../build/wgsl.ts';
import type { GpuContext } from '../../src/backend/webgpu/binding.ts';
import { accessOf, codeOf, type GpuKernel, paramsOf, prefixed } from '../../src/backend/webgpu/kernel.ts';
import norm from '../../kernels/norm.wgsl';

const KERNELS = path.resolve(import.meta.dirname, '../../kernels');

/** Tokens of WGSL, the longest first; anything else is a fault of this test. */
const TOKEN =
  /\s+|\/\/.*|\/\*[\s\S]*?\*\/|0x[\da-f]+[iu]?|(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?[fhiu]?|\w+|<<=|>>=|\+\+|--|&&|\|\||->|[-+*/%&|^]=|[<>=!]=|<<|>>|[-+*/%&|^<>=!~(){}[\],;:.@]/gi;

function tokens(source: string): string[] {
  const found = source.match(TOKEN) ?? [];
  expect(found.join('')).toBe(source);
  return found.filter((token) => !/^(\s|\/\/|\/\*)/.test(token));
}

test('a kernel keeps its tokens, and has fewer bytes', () => {
  const files = readdirSync(KERNELS);
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const source = readFileSync(path.join(KERNELS, file), 'utf8').replace(/^#include .*$/gm, '');
    const minified = minifyWgsl(source);
    expect(tokens(minified), file).toEqual(tokens(source));
    expect(minified.length, file).toBeLessThan(source.length);
    expect(minified, file).not.toMatch(/\/\/|\/\*/);
  }
});

test.each([
  ['let a = b - -c;', 'let a=b - -c;'],
  ['let a = b / *c; // why', 'let a=b / *c;'],
  ['let a = x & &y;', 'let a=x & &y;'],
  ['f(); // not /* here\ng();', 'f();\ng();'],
  ['return - 1;', 'return-1;'],
  ['  a[i + 1] = f( x , y ) / /* both\n rows */ z;', 'a[i+1]=f(x,y)/z;'],
  ['var<storage, read> x: array<vec4<f32>>;', 'var<storage,read>x:array<vec4<f32>>;'],
  ['fn f() -> u32 { return 1u; }', 'fn f()->u32{return 1u;}'],
  ['if (a < b && !c) { i++; }', 'if(a<b && !c){i++;}'],
])('%j', (source, minified) => {
  expect(minifyWgsl(source)).toBe(minified);
  expect(tokens(minified)).toEqual(tokens(source));
});

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'skip-vision-wgsl-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes files and gives the module of the first one. */
function moduleOf(files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  return wgslModule(path.join(folder, Object.keys(files)[0]!), true);
}

test('a file is a module of its text and of what it includes, in its order', () => {
  expect(moduleOf({ 'a.wgsl': 'alias A = u32; // why\n#include "b.wgsl"\nalias C = u32;\n', 'b.wgsl': 'alias B = u32;\n' })).toBe(
    'import piece1 from "./b.wgsl";export default{name:"a",pieces:["alias A=u32;",piece1,"alias C=u32;"]};',
  );
  expect(moduleOf({ 'b.wgsl': '#include "c.wgsl"\n', 'c.wgsl': '' })).toBe(
    'import piece1 from "./c.wgsl";export default{name:"b",pieces:[piece1]};',
  );
});

test.each([
  [{ 'a.wgsl': '#include "b.wgsl"\n' }, /a\.wgsl includes b\.wgsl, which is not there/],
  [{ 'a.wgsl': '#include "b.wgsl"\n', 'b.wgsl': '#include "c.wgsl"\n' }, /b\.wgsl includes c\.wgsl, which is not there/],
  [{ 'a.wgsl': '#include "b.wgsl"\n', 'b.wgsl': '#include "a.wgsl"\n' }, /a\.wgsl includes b\.wgsl includes a\.wgsl: a circle/],
  [{ 'a.wgsl': '#include "a.wgsl"\n' }, /a circle/],
  [{ 'a.wgsl': '#if X\nalias A = u32;\n' }, /#if X is no line like #include/],
  [{ 'a.wgsl': ' #include "b.wgsl"\n', 'b.wgsl': '' }, /is no line like #include/],
])('%j is refused', (files, message) => {
  expect(() => moduleOf(files)).toThrow(message);
});

test('a piece that several include stands in a kernel once', () => {
  const shared: GpuKernel = { name: 'shared', pieces: ['alias A = u32;'] };
  const left: GpuKernel = { name: 'left', pieces: [shared, 'alias L = A;'] };
  const right: GpuKernel = { name: 'right', pieces: [shared, 'alias R = A;'] };
  expect(codeOf(prefixed(right, left, 'twice'))).toBe('alias A = u32;\nalias L = A;\nalias R = A;');
  expect(codeOf(norm).match(/struct RowStats/g)).toHaveLength(1);
});

test('params are read in their order, comments aside; so is the access of bindings', () => {
  const code = `struct Params { // rows: u32, }
    T: u32, // f32, not
    eps : f32
  }
  @group(0) @binding(0) var<uniform> p: Params;
  @group(0) @binding(2) var<storage, read_write> y: array<f32>;
  @group(0) @binding(1) var<storage> x: array<f32>;`;
  expect(paramsOf('k', code)).toEqual([
    { name: 'T', isFloat: false },
    { name: 'eps', isFloat: true },
  ]);
  expect(accessOf('k', code)).toEqual(['read', 'read_write']);
  expect(paramsOf('k', 'struct Row { a: u32 }')).toEqual([]);
  const fault = { code: 'backend-failed', op: 'kernel k' };
  expect(() => paramsOf('k', 'struct Params { at: vec2<u32> }')).toThrow(expect.objectContaining(fault));
  expect(() => accessOf('k', '@group(0) @binding(2) var<storage> x: array<f32>;')).toThrow(expect.objectContaining(fault));
});

test('the compiler knows the params of every kernel, those of includes too', () => {
  const types = readFileSync(path.resolve(KERNELS, '../build/kernels.d.ts'), 'utf8');
  expect(types).toBe(wgslTypes([KERNELS, path.resolve(KERNELS, '../test/bench/gpu')]));
  expect(types).toMatch(/'\*\/norm\.wgsl'.*GpuKernel<'T' \| 'D' \| 'layer' \| 'hasWeight' \| 'hasBias' \| 'eps'>/);
  expect(types).toMatch(/'\*\/attention\.wgsl'.*GpuKernel<'T' \| 'H' \| 'Hkv'/);
});

test('the compiler refuses params that a kernel has not, and wants all that it has', () => {
  let calls = 0;
  const gpu = { dispatch: () => calls++ } as unknown as GpuContext;
  const flags = { layer: true, hasWeight: true, hasBias: false };
  gpu.dispatch(norm, [], { T: 1, D: 1, ...flags, eps: 0 }, [1]);
  // @ts-expect-error: eps is missing
  gpu.dispatch(norm, [], { T: 1, D: 1, ...flags }, [1]);
  // @ts-expect-error: there is no C
  gpu.dispatch(norm, [], { T: 1, D: 1, C: 1, ...flags, eps: 0 }, [1]);
  // @ts-expect-error: width is D
  gpu.dispatch(norm, [], { T: 1, width: 1, ...flags, eps: 0 }, [1]);
  // @ts-expect-error: names, not a list
  gpu.dispatch(norm, [], [1, 1, 0, 0], [1]);
  expect(calls).toBe(5);
});
