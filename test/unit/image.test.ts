import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { encode as encodeJpeg } from 'jpeg-js';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { decodeImage } from '../../src/model/image/decode.ts';
import { type ImageInput, imageFromBitmap, toImage } from '../../src/model/image/image.ts';
import { GREY, GREY_ALPHA, PALETTE, pngFile, RGB, RGBA } from './png-file.ts';

const PICTURE = 'examples/tiny-vlm/eval/028.png';
const invalid = expect.objectContaining({ code: 'invalid-image', argument: 'image' });

describe('decodeImage: PNG', () => {
  const pixels = async (png: Parameters<typeof pngFile>[0]) => [...(await decodeImage(pngFile(png))).data];
  const palette = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];

  test('RGB', async () => {
    const image = await decodeImage(pngFile({ width: 2, height: 1, colorType: RGB, rows: [[1, 2, 3, 4, 5, 6]] }));
    expect(image).toEqual({ width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  });

  test('alpha is dropped, not blended', async () => {
    expect(await pixels({ width: 2, height: 1, colorType: RGBA, rows: [[1, 2, 3, 0, 4, 5, 6, 128]] })).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await pixels({ width: 2, height: 1, colorType: GREY_ALPHA, rows: [[9, 0, 8, 255]] })).toEqual([9, 9, 9, 8, 8, 8]);
    const transparency = [0, 9];
    expect(await pixels({ width: 1, height: 1, colorType: GREY, rows: [[9]], transparency })).toEqual([9, 9, 9]);
  });

  test('grey of 1, 2, 4 and 8 bits is spread over 0..255; rows start at whole bytes', async () => {
    const grey = async (depth: number, width: number, rows: number[][]) =>
      (await pixels({ width, height: rows.length, colorType: GREY, depth, rows })).filter((_, i) => i % 3 === 0);
    expect(await grey(1, 3, [[0b10100000], [0b01000000]])).toEqual([255, 0, 255, 0, 255, 0]);
    expect(await grey(2, 5, [[0b00011011, 0b01000000]])).toEqual([0, 85, 170, 255, 85]);
    expect(await grey(4, 3, [[0x0f, 0x50]])).toEqual([0, 255, 85]);
    expect(await grey(8, 2, [[7, 200]])).toEqual([7, 200]);
  });

  test('palettes of 1, 2, 4 and 8 bits, transparent entries included', async () => {
    const indexed = (depth: number, row: number[]) =>
      pixels({ width: 2, height: 1, colorType: PALETTE, depth, rows: [row], palette, transparency: [0, 128] });
    expect(await indexed(1, [0b10000000])).toEqual([40, 50, 60, 10, 20, 30]);
    expect(await indexed(2, [0b11010000])).toEqual([100, 110, 120, 40, 50, 60]);
    expect(await indexed(4, [0x32])).toEqual([100, 110, 120, 70, 80, 90]);
    expect(await indexed(8, [3, 0])).toEqual([100, 110, 120, 10, 20, 30]);
    await expect(indexed(8, [3, 4])).rejects.toThrow('palette has no colour 4');
  });

  test('a suggested palette does not make an RGB picture indexed', async () => {
    expect(await pixels({ width: 1, height: 1, colorType: RGB, rows: [[1, 2, 3]], palette })).toEqual([1, 2, 3]);
  });

  test('of 16 bits the high byte is kept', async () => {
    const rgb = [0x12, 0xff, 0x34, 0xff, 0xff, 0x00];
    expect(await pixels({ width: 1, height: 1, colorType: RGB, depth: 16, rows: [rgb] })).toEqual([0x12, 0x34, 0xff]);
    expect(await pixels({ width: 1, height: 1, colorType: GREY, depth: 16, rows: [[0x80, 0xff]] })).toEqual([0x80, 0x80, 0x80]);
  });

  test('interlacing: with 8 bits decoded, with fewer refused', async () => {
    // A 2 x 1 picture has one pixel in pass 1 and one in pass 6.
    const interlaced = { width: 2, height: 1, interlaced: true };
    expect(await pixels({ ...interlaced, colorType: GREY, rows: [[5], [6]] })).toEqual([5, 5, 5, 6, 6, 6]);
    await expect(pixels({ ...interlaced, colorType: GREY, depth: 1, rows: [[0], [128]] })).rejects.toThrow(invalid);
  });

  test('every truncation and every damaged byte is refused', async () => {
    const bytes = pngFile({
      width: 2,
      height: 2,
      colorType: RGB,
      rows: [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 6],
      ],
    });
    for (let length = 0; length < bytes.length; length++) {
      await expect(decodeImage(bytes.subarray(0, length))).rejects.toThrow(invalid);
    }
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at] ^= 0x55;
      await expect(decodeImage(damaged)).rejects.toThrow(invalid);
    }
    await expect(
      decodeImage(
        pngFile({
          width: 2,
          height: 3,
          colorType: GREY,
          rows: [
            [1, 2],
            [3, 4],
          ],
        }),
      ),
    ).rejects.toThrow(invalid);
  });
});

describe('decodeImage: JPEG and the rest', () => {
  const jpeg = (width: number, height: number, rgba: number[]) => {
    const data = Uint8Array.from({ length: 4 * width * height }, (_, i) => rgba[i % 4]);
    return new Uint8Array(encodeJpeg({ width, height, data }, 95).data);
  };

  test('JPEG, within 3 of the colour that was stored', async () => {
    const { width, height, data } = await decodeImage(jpeg(17, 9, [200, 100, 50, 255]));
    expect([width, height, data.length]).toEqual([17, 9, 3 * 17 * 9]);
    for (let i = 0; i < data.length; i++) expect(Math.abs(data[i] - [200, 100, 50][i % 3])).toBeLessThanOrEqual(3);
  });

  test('every truncation of a JPEG is refused', async () => {
    const bytes = jpeg(9, 9, [200, 100, 50, 255]);
    for (let length = 0; length < bytes.length; length++) {
      await expect(decodeImage(bytes.subarray(0, length))).rejects.toThrow(invalid);
    }
  });

  test('too many pixels are refused by the header alone', async () => {
    const huge = pngFile({ width: 10_000, height: 10_000, colorType: RGB, rows: [] });
    await expect(decodeImage(huge)).rejects.toThrow('10000 x 10000 pixels, expected at most 64000000 pixels');
    const wide = jpeg(8, 8, [0, 0, 0, 0]);
    const frame = wide.findIndex((byte, i) => byte === 0xff && wide[i + 1] === 0xc0);
    wide.set([0x27, 0x10, 0x27, 0x10], frame + 5);
    await expect(decodeImage(wide)).rejects.toThrow('10000 x 10000 pixels');
    const small = pngFile({
      width: 2,
      height: 2,
      colorType: GREY,
      rows: [
        [1, 2],
        [3, 4],
      ],
    });
    await expect(decodeImage(small, { maxPixels: 3 })).rejects.toThrow(invalid);
    expect((await decodeImage(small, { maxPixels: 4 })).width).toBe(2);
  });

  test('no picture: the known formats are named', async () => {
    await expect(decodeImage(new TextEncoder().encode('GIF89a......'))).rejects.toThrow(
      'image is 12 bytes that start with 47 49 46 38 39 61 2e 2e, expected a PNG or a JPEG',
    );
    await expect(decodeImage(new Uint8Array(0))).rejects.toThrow(invalid);
    await expect(decodeImage(pngFile({ width: 0, height: 2, colorType: RGB, rows: [[], []] }))).rejects.toThrow('at least one pixel');
  });
});

describe('toImage', () => {
  afterEach(() => vi.unstubAllGlobals());

  test('bytes, buffer, Blob, path and URL give the same picture', async () => {
    const bytes = new Uint8Array(await readFile(PICTURE));
    const expected = await decodeImage(bytes);
    expect(expected).toMatchObject({ width: 96, height: 96 });
    const url = pathToFileURL(resolve(PICTURE));
    const data = `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`;
    for (const input of [bytes, bytes.buffer, new Blob([bytes]), PICTURE, url, url.href, data]) {
      expect(await toImage(input)).toEqual(expected);
    }
  });

  test('an Image is checked and not copied', async () => {
    const image = { width: 3, height: 2, data: new Uint8Array(18) };
    expect((await toImage(image)).data).toBe(image.data);
    await expect(toImage({ ...image, width: 4 })).rejects.toThrow(invalid);
    await expect(toImage({ width: 0, height: 0, data: new Uint8Array(0) })).rejects.toThrow(invalid);
  });

  test.each<[string, unknown]>([
    ['a missing file', 'examples/no such picture.png'],
    ['a broken URL', 'http://'],
    ['a number', 3],
    ['null', null],
    ['an object of another kind', {}],
    ['a picture where there is no canvas', { width: 2, height: 2 }],
    ['a picture that is not loaded', { width: 2, height: 2, naturalWidth: 0, naturalHeight: 0 }],
    ['ImageData of floats', { width: 1, height: 1, data: new Float32Array(4) }],
  ])('refuses %s', async (_, input) => {
    await expect(toImage(input as ImageInput)).rejects.toThrow(invalid);
  });

  test('a Blob whose file is gone is named as such', async () => {
    const blob = Object.assign(new Blob([]), { arrayBuffer: () => Promise.reject(new DOMException('gone', 'NotReadableError')) });
    await expect(toImage(blob)).rejects.toThrow('image is a Blob that cannot be read (gone)');
  });

  test('an abort rejects with its reason', async () => {
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    for (const input of [PICTURE, new Blob([]), new Uint8Array(0)]) await expect(toImage(input, { signal })).rejects.toBe(reason);
  });

  test('ImageData and drawn pictures lose their alpha', async () => {
    const data = Uint8ClampedArray.of(1, 2, 3, 0, 4, 5, 6, 255);
    const expected = { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) };
    expect(imageFromBitmap({ width: 2, height: 1, data } as ImageData)).toEqual(expected);
    const drawn: unknown[] = [];
    const context = { drawImage: (...args: unknown[]) => drawn.push(args), getImageData: () => ({ data }) };
    vi.stubGlobal(
      'OffscreenCanvas',
      class {
        getContext = () => context;
      },
    );
    const element = { width: 50, height: 25, naturalWidth: 2, naturalHeight: 1 };
    expect(await toImage(element)).toEqual(expected);
    expect(drawn).toEqual([[element, 0, 0]]);
  });
});
