/** What the build leaves out of WGSL: nothing that a compiler reads. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { minifyWgsl } from '../../build/wgsl.ts';

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
    const source = readFileSync(path.join(KERNELS, file), 'utf8');
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
