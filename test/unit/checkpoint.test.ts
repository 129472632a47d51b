import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/model/files/checkpoint.ts';
import { parseSafetensors, toFloat32 } from '../../src/model/files/safetensors.ts';
import { type LoadProgress, openSource } from '../../src/model/files/source.ts';
import { f32, rawFile, safetensorsFile } from './safetensors-file.ts';

const TINY = 'examples/tiny-vlm/skip';
const small = safetensorsFile({
  'a.weight': { dtype: 'F32', shape: [2, 2], bytes: f32(1, 2, 3, 4) },
  'b.bias': { dtype: 'F32', shape: [1], bytes: f32(5) },
});

/** What a parse throws, without its prose. */
function fault(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    const { code, argument } = error as { code?: string; argument?: string };
    return { code, argument };
  }
  return 'no error';
}

function invalid(argument: string): object {
  return { code: 'invalid-checkpoint', argument };
}

describe('parseSafetensors', () => {
  test('names, shapes, dtypes, metadata; data is a view', () => {
    const bytes = safetensorsFile({ x: { dtype: 'I64', shape: [], bytes: new Uint8Array(8) } }, { format: 'pt' });
    const { tensors, metadata } = parseSafetensors(bytes, 'f');
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors.get('x')).toMatchObject({ name: 'x', dtype: 'I64', shape: [] });
    expect(tensors.get('x')?.data.buffer).toBe(bytes.buffer);
  });

  test('accepts an empty file, empty tensors, holes, and names that look like JSON', () => {
    expect(parseSafetensors(rawFile('{}', new Uint8Array(0)), 'f').tensors.size).toBe(0);
    const entry = (begin: number, end: number) => ({ dtype: 'U8', shape: [end - begin], data_offsets: [begin, end] });
    const header = JSON.stringify({ 'a"b": {': entry(4, 6), ['__proto__']: entry(0, 0), empty: entry(5, 5), 'ключ λ': entry(9, 10) });
    const { tensors } = parseSafetensors(rawFile(header, new Uint8Array(12)), 'f');
    expect([...tensors.keys()]).toEqual(['a"b": {', '__proto__', 'empty', 'ключ λ']);
  });

  test('works on a view into a larger buffer', () => {
    const outer = new Uint8Array(small.length + 3);
    outer.set(small, 3);
    const tensor = parseSafetensors(outer.subarray(3), 'f').tensors.get('a.weight');
    expect([...toFloat32(tensor!)]).toEqual([1, 2, 3, 4]);
  });

  const u8 = (shape: unknown, offsets: unknown, dtype: unknown = 'U8') => ({ dtype, shape, data_offsets: offsets });
  test.each<[string, string, string]>([
    ['a header that is not JSON', '{"x":', 'f'],
    ['a header that is a list', '[]', 'f'],
    ['metadata that are no strings', '{"__metadata__":{"a":1}}', '__metadata__'],
    ['an entry that is no object', '{"x":3}', 'x'],
    ['an unknown dtype', JSON.stringify({ x: u8([4], [0, 4], 'F31') }), 'x'],
    ['a missing dtype', '{"x":{"shape":[4],"data_offsets":[0,4]}}', 'x'],
    ['a negative shape', JSON.stringify({ x: u8([-1, -4], [0, 4]) }), 'x'],
    ['a fractional shape', JSON.stringify({ x: u8([1.5], [0, 4]) }), 'x'],
    ['a shape that is a number', JSON.stringify({ x: u8(4, [0, 4]) }), 'x'],
    ['an overflowing shape', JSON.stringify({ x: u8([2 ** 50, 2 ** 50], [0, 4]) }), 'x'],
    ['a size that is not shape x dtype', JSON.stringify({ x: u8([3], [0, 4]) }), 'x'],
    ['offsets out of range', JSON.stringify({ x: u8([20], [0, 20]) }), 'x'],
    ['a negative offset', JSON.stringify({ x: u8([4], [-4, 0]) }), 'x'],
    ['offsets that run backwards', JSON.stringify({ x: u8([4], [8, 4]) }), 'x'],
    ['one offset', JSON.stringify({ x: u8([4], [0]) }), 'x'],
    ['overlapping tensors', JSON.stringify({ x: u8([4], [2, 6]), y: u8([4], [5, 9]), z: u8([2], [0, 2]) }), 'y'],
    ['the same bytes twice', JSON.stringify({ x: u8([4], [0, 4]), y: u8([4], [0, 4]) }), 'y'],
    ['a duplicate name', `{"x":${JSON.stringify(u8([1], [0, 1]))},"\\u0078":${JSON.stringify(u8([1], [1, 2]))}}`, 'x'],
  ])('refuses %s', (_, header, argument) => {
    expect(fault(() => parseSafetensors(rawFile(header, new Uint8Array(16)), 'f'))).toEqual(invalid(argument));
  });

  test('refuses a header longer than the file, an absurd one, and every truncation', () => {
    const absurd = Uint8Array.from(small);
    absurd.fill(0xff, 0, 8);
    expect(fault(() => parseSafetensors(absurd, 'f'))).toEqual(invalid('f'));
    for (let length = 0; length < small.length; length++) {
      expect(fault(() => parseSafetensors(small.subarray(0, length), 'f'))).toMatchObject({ code: 'invalid-checkpoint' });
    }
    expect(fault(() => parseSafetensors(small.subarray(0, small.length - 1), 'f'))).toEqual(invalid('b.bias'));
  });
});

describe('toFloat32', () => {
  const parse = (bytes: Uint8Array) => parseSafetensors(bytes, 'f').tensors.get('x')!;
  const u16 = (...values: number[]) => new Uint8Array(Uint16Array.from(values).buffer);

  test('F32: a view where aligned, a copy where not', () => {
    const header = '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}';
    for (let pad = 0; pad < 4; pad++) {
      const bytes = rawFile(header, f32(1.5, -2), pad);
      const values = toFloat32(parse(bytes));
      expect([...values]).toEqual([1.5, -2]);
      expect(values.buffer === bytes.buffer).toBe((8 + header.length + pad) % 4 === 0);
    }
  });

  test('F16: normal, subnormal, zeros, infinities and NaN are exact, at any alignment', () => {
    const halves = [0x3c00, 0xc000, 0x7bff, 0x0400, 0x03ff, 0x0001, 0x8001, 0x0000, 0x8000, 0x7c00, 0xfc00, 0x7e01];
    const values = [1, -2, 65504, 2 ** -14, 1023 * 2 ** -24, 2 ** -24, -(2 ** -24), 0, -0, Infinity, -Infinity, NaN];
    const header = '{"x":{"dtype":"F16","shape":[12],"data_offsets":[0,24]}}';
    for (const pad of [0, 1]) expect([...toFloat32(parse(rawFile(header, u16(...halves), pad)))]).toEqual(values);
  });

  test('BF16: the upper half of an f32', () => {
    const bytes = safetensorsFile({ x: { dtype: 'BF16', shape: [4], bytes: u16(0x3f80, 0xc049, 0x0001, 0x7f80) } });
    expect([...toFloat32(parse(bytes))]).toEqual([1, -3.140625, 2 ** -133, Infinity]);
  });

  test.each(['F64', 'I64'])('%s is refused by the name of the tensor', (dtype) => {
    const bytes = safetensorsFile({ x: { dtype, shape: [1], bytes: new Uint8Array(8) } });
    expect(fault(() => toFloat32(parse(bytes)))).toEqual(invalid('x'));
  });
});

describe('openCheckpoint', () => {
  const index = (map: unknown) => new TextEncoder().encode(JSON.stringify({ weight_map: map }));
  const one = (name: string) => safetensorsFile({ [name]: { dtype: 'F32', shape: [1], bytes: f32(7) } });

  test('tensors by name and shape; unused names', async () => {
    const checkpoint = await openCheckpoint(openSource({ 'model.safetensors': small }));
    expect(checkpoint.names).toEqual(['a.weight', 'b.bias']);
    expect(checkpoint.has('a.weight')).toBe(true);
    expect(checkpoint.has('c')).toBe(false);
    expect(checkpoint.unused()).toEqual(['a.weight', 'b.bias']);
    expect([...checkpoint.tensor('a.weight', [2, 2])]).toEqual([1, 2, 3, 4]);
    expect(checkpoint.tensor('a.weight', [2, 2]).buffer).toBe(small.buffer);
    expect(checkpoint.unused()).toEqual(['b.bias']);
    expect(checkpoint.unused(['b.'])).toEqual([]);
    expect(fault(() => checkpoint.tensor('c', [1]))).toEqual(invalid('c'));
    expect(fault(() => checkpoint.tensor('a.weight', [4]))).toEqual(invalid('a.weight'));
    expect(() => checkpoint.tensor('a.weight', [2, 3])).toThrow('checkpoint: a.weight is of shape [2, 2], expected [2, 3]');
  });

  test('shards', async () => {
    const source = { 'model.safetensors.index.json': index({ x: '1.safetensors', y: '2.safetensors' }) };
    const checkpoint = await openCheckpoint(openSource({ ...source, '1.safetensors': one('x'), '2.safetensors': one('y') }));
    expect([...checkpoint.tensor('y', [1])]).toEqual([7]);
  });

  test.each<[string, Record<string, Uint8Array>, string]>([
    ['no weights at all', {}, 'model.safetensors'],
    ['a missing shard', { 'model.safetensors.index.json': index({ x: 's' }) }, 's'],
    ['a truncated shard', { 'model.safetensors.index.json': index({ x: 's' }), s: one('x').subarray(0, -2) }, 'x'],
    ['a shard without its tensor', { 'model.safetensors.index.json': index({ y: 's' }), s: one('x') }, 'y'],
    ['an index that is not JSON', { 'model.safetensors.index.json': f32(1) }, 'model.safetensors.index.json'],
    ['an index without a map', { 'model.safetensors.index.json': index(undefined) }, 'weight_map'],
    ['an empty map', { 'model.safetensors.index.json': index({}) }, 'weight_map'],
    ['a map to a number', { 'model.safetensors.index.json': index({ x: 1 }) }, 'x'],
    ['a map out of the folder', { 'model.safetensors.index.json': index({ x: '../s' }) }, 'x'],
    ['a map to an absolute path', { 'model.safetensors.index.json': index({ x: '/s' }) }, 'x'],
  ])('refuses %s', async (_, files, argument) => {
    await expect(openCheckpoint(openSource(files))).rejects.toMatchObject(invalid(argument));
  });

  test('reads tiny-vlm', async () => {
    const checkpoint = await openCheckpoint(openSource(TINY));
    expect(checkpoint.names).toHaveLength(120);
    expect(checkpoint.tensor('language_model.model.embed_tokens.weight', [66, 128])).toHaveLength(66 * 128);
  });
});

describe('openSource', () => {
  let folder: string;
  let server: Server;
  let base: string;
  /** The client let go of the answer that never ends. */
  let closed: Promise<void>;
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i);

  beforeAll(async () => {
    folder = join(await mkdtemp(join(tmpdir(), 'skip vision ')), 'модель ü %20');
    await mkdir(folder);
    await writeFile(join(folder, 'данные 1.bin'), bytes);
    await writeFile(join(folder, 'empty'), '');
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '', 'http://h');
      if (pathname === '/slow/x') {
        closed = new Promise((resolve) => response.on('close', resolve));
        response.writeHead(200).write('a'); // never ends
      } else if (pathname === '/short/x') response.writeHead(200, { 'content-length': '9' }).end('abc').destroy();
      else if (pathname === '/nohead/x') response.writeHead(request.method === 'HEAD' ? 405 : 200).end('ok');
      else if (pathname === '/broken/x') response.writeHead(500).end();
      else if (decodeURIComponent(pathname) !== '/my model/данные 1.bin') response.writeHead(404).end('no');
      else response.writeHead(200, request.url?.includes('?') ? {} : { 'content-length': String(bytes.length) }).end(bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await rm(join(folder, '..'), { recursive: true });
  });

  test.each<[string, () => string | URL]>([
    ['a path with spaces and other letters', () => folder],
    ['a path with a slash at its end', () => `${folder}/`],
    ['a file URL', () => pathToFileURL(folder)],
    ['a file URL as a string', () => pathToFileURL(folder).href],
    ['an http URL', () => `${base}/my%20model`],
    ['an http URL with a query, without a length', () => new URL(`${base}/my model/?token=1`)],
  ])('reads from %s', async (_, place) => {
    const progress: LoadProgress[] = [];
    const source = openSource(place(), { onProgress: (event) => progress.push(event) });
    expect(await source.has('данные 1.bin')).toBe(true);
    expect(await source.has('other')).toBe(false);
    expect(Buffer.compare(await source.read('данные 1.bin'), bytes)).toBe(0);
    expect(progress.at(-1)).toMatchObject({ file: 'данные 1.bin', loaded: bytes.length });
    await expect(source.read('other')).rejects.toMatchObject(invalid('other'));
  });

  test('reads from a record; an empty file is empty', async () => {
    const source = openSource({ a: bytes });
    expect(await source.read('a')).toBe(bytes);
    expect(await source.has('toString')).toBe(false);
    await expect(source.read('b')).rejects.toMatchObject(invalid('b'));
    expect(await openSource(folder).read('empty')).toHaveLength(0);
  });

  test('a folder in the place of a file, a cut answer and a failing server are named', async () => {
    await expect(openSource(join(folder, '..')).read('модель ü %20')).rejects.toMatchObject(invalid('модель ü %20'));
    await expect(openSource(`${base}/short`).read('x')).rejects.toMatchObject(invalid('x'));
    await expect(openSource(`${base}/broken`).has('x')).rejects.toMatchObject(invalid('x'));
    expect(await openSource(`${base}/nohead`).has('x')).toBe(true);
  });

  test('an abort rejects with its reason, before and during a read', async () => {
    const reason = new Error('enough');
    await expect(openSource(folder, { signal: AbortSignal.abort(reason) }).read('empty')).rejects.toBe(reason);
    const controller = new AbortController();
    const onProgress = ({ loaded }: LoadProgress) => loaded > 0 && controller.abort(reason);
    await expect(openSource(`${base}/slow`, { signal: controller.signal, onProgress }).read('x')).rejects.toBe(reason);
    const local = new AbortController();
    const source = openSource(folder, { signal: local.signal, onProgress: () => local.abort(reason) });
    await expect(source.read('данные 1.bin')).rejects.toBe(reason);
  });

  test.each([new RangeError('mine'), new Error('mine'), 'mine', undefined])(
    'what onProgress throws comes out as it is: %o',
    async (mine) => {
      for (const place of [folder, `${base}/my model`, { 'данные 1.bin': bytes }]) {
        for (const from of [0, bytes.length]) {
          const onProgress = ({ loaded }: LoadProgress) => {
            if (loaded >= from) throw mine;
          };
          const caught = await openSource(place, { onProgress })
            .read('данные 1.bin')
            .then(
              () => 'read',
              (error) => [error],
            );
          expect(caught).toEqual([mine]);
          if (mine instanceof Error) expect(caught[0]).toBe(mine);
        }
      }
    },
  );

  test('a read that ends early ends its connection', async () => {
    const mine = new Error('mine');
    const onProgress = ({ loaded }: LoadProgress) => {
      if (loaded > 0) throw mine;
    };
    await expect(openSource(`${base}/slow`, { onProgress }).read('x')).rejects.toBe(mine);
    await closed;
  });

  test.each(['', 3, null, 'http://'])('refuses %j as a source', (source) => {
    expect(fault(() => openSource(source as string))).toEqual({ code: 'invalid-argument', argument: 'source' });
  });
});
