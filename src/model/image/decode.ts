/** PNG and JPEG to RGB. The decoders are loaded when the first picture of their kind arrives. */
import type { DecodedPng } from 'fast-png';
import { SkipVisionError } from '../../backend/errors.ts';

/** A picture as everything here takes it. */
export interface Image {
  readonly width: number;
  readonly height: number;
  /** RGB, 8 bits each, row-major: 3 * width * height bytes. */
  readonly data: Uint8Array;
}

export interface DecodeOptions {
  /** A picture with more pixels than this is refused before any of it is decoded. Default 64 million. */
  maxPixels?: number;
}

const DEFAULT_MAX_PIXELS = 64_000_000;

/**
 * Decodes a PNG or JPEG, told apart by their first bytes. As PIL's `convert("RGB")`: alpha is dropped (not blended), grey
 * is repeated, palettes are looked up; of 16-bit samples the high byte is kept. Colour profiles and EXIF orientation are
 * ignored. JPEG chroma is not smoothed when it is enlarged, so values can differ from libjpeg's by a few units.
 * @throws `invalid-image` when the bytes are neither format, are damaged or cut short, or promise more than `maxPixels`.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<Image> {
  const maxPixels = options.maxPixels ?? DEFAULT_MAX_PIXELS;
  const isPng = startsWith(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const isJpeg = startsWith(bytes, [0xff, 0xd8, 0xff]);
  if (!isPng && !isJpeg) {
    const first = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw invalidImage(`${bytes.length} bytes that start with ${first || 'nothing'}`, 'a PNG or a JPEG');
  }
  const [width, height] = isPng ? pngSize(bytes) : jpegSize(bytes);
  const pixels = width * height;
  if (pixels === 0) throw invalidImage(`${width} x ${height} pixels`, 'at least one pixel');
  if (pixels > maxPixels) throw invalidImage(`${width} x ${height} pixels`, `at most ${maxPixels} pixels (option maxPixels)`);
  const decode = isPng ? await loadPng() : await loadJpeg(pixels);
  try {
    return decode(bytes);
  } catch (cause) {
    if (cause instanceof SkipVisionError) throw cause;
    const got = `damaged or cut short (${cause instanceof Error ? cause.message : String(cause)})`;
    throw invalidImage(got, `a whole ${isPng ? 'PNG' : 'JPEG'}`, cause);
  }
}

type Size = [width: number, height: number];

function invalidImage(got: string, expected: string, cause?: unknown): SkipVisionError {
  return new SkipVisionError('invalid-image', `image is ${got}, expected ${expected}`, { argument: 'image', got, expected, cause });
}

function startsWith(bytes: Uint8Array, signature: readonly number[]): boolean {
  return signature.every((byte, i) => bytes[i] === byte);
}

function pngSize(bytes: Uint8Array): Size {
  if (bytes.length < 26) throw invalidImage(`cut short after ${bytes.length} bytes`, 'a whole PNG');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getUint32(16), view.getUint32(20)];
}

/** Walks the segments up to the first frame header; thumbnails hide inside their segments and are stepped over. */
function jpegSize(bytes: Uint8Array): Size {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 2;
  while (at + 9 <= bytes.length) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff) break;
    if (marker === 0xff) {
      at += 1; // a fill byte
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += 2 + view.getUint16(at + 2);
  }
  throw invalidImage('without a frame header', 'a whole JPEG');
}

type Decoder = (bytes: Uint8Array) => Image;

async function loadJpeg(pixels: number): Promise<Decoder> {
  // CommonJS: its named exports do not survive every bundler, the default one does.
  const { decode } = (await import('jpeg-js')).default;
  const options = {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
    maxResolutionInMP: Infinity, // the limit of the caller was applied above
    // Up to 4 components in 32-bit blocks, once more as bytes, the result, and padding of small pictures.
    maxMemoryUsageInMB: 16 + (40 * pixels) / 2 ** 20,
  } as const;
  return (bytes) => {
    const { width, height, data } = decode(bytes, options);
    return { width, height, data };
  };
}

async function loadPng(): Promise<Decoder> {
  const { decode } = await import('fast-png');
  return (bytes) => {
    const [depth, colorType, , , interlaced] = bytes.subarray(24);
    if (interlaced !== 0 && depth < 8) {
      // The decoder gets the packing of these wrong.
      throw invalidImage(`an interlaced PNG with ${depth} bits per sample`, 'at least 8 bits, or no interlacing');
    }
    return toRgb(decode(bytes, { checkCrc: true }), colorType);
  };
}

function toRgb(png: DecodedPng, colorType: number): Image {
  const samples = toBytes(png, colorType === GREY);
  const { width, height, channels } = png;
  const data = new Uint8Array(3 * width * height);
  // A palette in a picture of another colour type is only a hint for displays.
  const colors = colorType === PALETTE ? (png.palette ?? []) : undefined;
  const step = channels < 3 ? 0 : 1;
  for (let pixel = 0; pixel < width * height; pixel++) {
    const color = colors?.[samples[pixel]];
    if (colors !== undefined && color === undefined) throw new Error(`palette has no colour ${samples[pixel]}`);
    for (let c = 0; c < 3; c++) data[3 * pixel + c] = color === undefined ? samples[pixel * channels + c * step] : color[c];
  }
  return { width, height, data };
}

const GREY = 0;
const PALETTE = 3;

/** One byte per sample: 16 bits lose the low byte, packed ones are spread; grey is scaled to 0..255, indices are not. */
function toBytes({ data, depth, width, height }: DecodedPng, isGrey: boolean): ArrayLike<number> {
  if (depth === 16) return Uint8Array.from(data, (sample) => sample >> 8);
  if (depth === 8) return data;
  // Only pictures of one channel have fewer than 8 bits; rows start at whole bytes.
  const samples = new Uint8Array(width * height);
  const rowBytes = Math.ceil((width * depth) / 8);
  const mask = 2 ** depth - 1;
  const scale = isGrey ? 255 / mask : 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = data[y * rowBytes + (bit >> 3)];
      samples[y * width + x] = ((byte >> (8 - depth - (bit & 7))) & mask) * scale;
    }
  }
  return samples;
}
