import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Image } from '../../src/model/image/decode.ts';
import { toImage } from '../../src/model/image/image.ts';
import { parsePreprocessorConfig, preprocess } from '../../src/model/image/preprocess.ts';
import { type Resample, resize } from '../../src/model/image/resample.ts';

const PICTURE = 'examples/tiny-vlm/eval/028.png';
const invalid = expect.objectContaining({ code: 'invalid-image', argument: 'image' });

/** A picture by formula, as in the Python that made the table below. */
function picture(width: number, height: number): Image {
  const data: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data.push((x * 37 + y * 11) % 256, (x * x + 7 * y) % 256, (x + y) % 3 === 0 ? 0 : 255);
  }
  return { width, height, data: Uint8Array.from(data) };
}

/**
 * Width and height before and after, filter, RGB bytes after. Made with Pillow 9.4:
 * np.asarray(Image.fromarray(p).resize((W, H), filter)).tobytes().hex() for the picture p above and filters 0, 2, 3.
 * 150 random pictures up to 60 x 60 were compared once and were equal to the bit.
 */
const PILLOW: [number, number, number, number, Resample, string][] = [
  [7, 5, 4, 3, 'bicubic', '1302b351069b9511c2d32182250e9e6312b8a71d97ea2dc7371ac1751e94bf29c5a53984'],
  [
    3,
    2,
    5,
    4,
    'bicubic',
    '0000000a004a2400ff3e02ff4c03ff0201350d017b2702ff4104dd4f05ca0606ca1406dd2e07ff48097b560a350908ff' + '1708ff3109ff4b0b4a590c00',
  ],
  [7, 5, 4, 3, 'bilinear', '1804ad52089d9613c1d02184290fa26313b5a71e9ae12cc23a1abf741e95b829c3a63787'],
  [
    3,
    2,
    5,
    4,
    'bilinear',
    '0000000f00662501ff3b03ff4a04ff03024012028c2803ff3e05d94d06bf0805bf1705d92d06ff43088c5209400b07ff' + '1a07ff3008ff460a66550b00',
  ],
  [7, 5, 4, 3, 'nearest', '0000004a04ff9410ffde2400160eff6012ffaa1e00f432ff2c1cff762000c02cff0a40ff'],
  [
    3,
    2,
    5,
    4,
    'nearest',
    '0000000000002501ff4a04ff4a04ff0000000000002501ff4a04ff4a04ff0b07ff0b07ff3008ff550b00550b000b07ff' + '0b07ff3008ff550b00550b00',
  ],
  [7, 2, 3, 2, 'bicubic', '1b019d6f09a4c31c9d2608ca7a10adce2397'],
  [2, 7, 2, 3, 'bicubic', '08059d2d06ca2115a44616ad3a259d5f2697'],
];

describe('resize', () => {
  test.each(PILLOW)('%i x %i to %i x %i, %s: equal to Pillow to the bit', (fromWidth, fromHeight, width, height, filter, bytes) => {
    const data = new Uint8Array(Buffer.from(bytes, 'hex'));
    expect(resize(picture(fromWidth, fromHeight), width, height, filter)).toEqual({ width, height, data });
  });

  test.each<Resample>(['nearest', 'bilinear', 'bicubic'])('%s: a 1 x 1 picture becomes a plane; the own size changes nothing', (filter) => {
    const dot = { width: 1, height: 1, data: Uint8Array.of(3, 128, 255) };
    expect(resize(dot, 3, 2, filter).data).toEqual(Uint8Array.from({ length: 18 }, (_, i) => dot.data[i % 3]));
    expect(resize(picture(7, 5), 7, 5, filter)).toEqual(picture(7, 5));
  });
});

describe('preprocess', () => {
  const off = { do_resize: false, do_center_crop: false, do_rescale: false, do_normalize: false };

  test('tiny-vlm: pixel_values of the reference implementation to 1e-6', async () => {
    const config = parsePreprocessorConfig(JSON.parse(await readFile('examples/tiny-vlm/skip/preprocessor_config.json', 'utf8')));
    const { pixels, width, height } = preprocess(await toImage(PICTURE), config);
    expect([width, height, pixels.length]).toEqual([96, 96, 3 * 96 * 96]);
    // Index and value, from PyTorch's (x / 255 - 0.5) / 0.5 of this picture.
    const expected: Record<number, number> = {
      0: -0.08235287666320801,
      1: -0.1294116973876953,
      96: -0.15294110774993896,
      5000: -0.21568620204925537,
      9216: 0.10588240623474121,
      12345: 0.15294122695922852,
      18432: -0.38823527097702026,
      27647: -0.43529409170150757,
    };
    for (const [index, value] of Object.entries(expected)) expect(Math.abs(pixels[Number(index)] - value)).toBeLessThan(1e-6);
  });

  test('channels come first; rescale and normalise round in f32 per channel', () => {
    const image = { width: 2, height: 1, data: Uint8Array.of(0, 100, 200, 50, 150, 255) };
    expect([...preprocess(image, parsePreprocessorConfig(off)).pixels]).toEqual([0, 50, 100, 150, 200, 255]);
    const config = parsePreprocessorConfig({ ...off, do_rescale: true, do_normalize: true });
    const expected = [0, 50, 100, 150, 200, 255].map((value, i) => {
      const channel = i >> 1;
      return (value / 255 - config.mean[channel]) / config.std[channel];
    });
    const { pixels } = preprocess(image, config);
    for (let i = 0; i < 6; i++) expect(Math.abs(pixels[i] - expected[i])).toBeLessThan(1e-6);
  });

  test('the shortest edge gets its size, the other one is cut down to an integer', () => {
    const size = (width: number, height: number) => {
      const result = preprocess(picture(width, height), parsePreprocessorConfig({ ...off, do_resize: true, size: 5 }));
      return [result.width, result.height];
    };
    expect(size(7, 11)).toEqual([5, 7]);
    expect(size(11, 7)).toEqual([7, 5]);
    expect(size(1, 1)).toEqual([5, 5]);
  });

  test('the centre is cut out as NumPy does it, with a black border for small pictures', () => {
    const row = (width: number) => ({ width, height: 1, data: Uint8Array.from({ length: 3 * width }, (_, i) => 1 + Math.floor(i / 3)) });
    const crop = (width: number, to: number) => {
      const config = parsePreprocessorConfig({ ...off, do_center_crop: true, crop_size: { height: 1, width: to } });
      return [...preprocess(row(width), config).pixels].slice(0, to);
    };
    expect(crop(5, 2)).toEqual([2, 3]);
    expect(crop(4, 2)).toEqual([2, 3]);
    expect(crop(2, 5)).toEqual([0, 0, 1, 2, 0]);
    expect(crop(1, 4)).toEqual([0, 0, 1, 0]);
  });

  test('a 1 x 1 picture fills the input of tiny-vlm', () => {
    const half = [0.5, 0.5, 0.5];
    const size = { height: 96, width: 96 };
    const config = parsePreprocessorConfig({ size, do_center_crop: false, image_mean: half, image_std: half });
    const { pixels } = preprocess({ width: 1, height: 1, data: Uint8Array.of(0, 0, 255) }, config);
    expect([pixels[0], pixels[96 * 96 - 1], pixels[2 * 96 * 96], pixels[3 * 96 * 96 - 1]]).toEqual([-1, -1, 1, 1]);
  });

  test('a thin line whose shortest edge would make it huge is refused', () => {
    const line = { width: 100_000, height: 1, data: new Uint8Array(300_000) };
    expect(() => preprocess(line, parsePreprocessorConfig({}))).toThrow(invalid);
  });
});
