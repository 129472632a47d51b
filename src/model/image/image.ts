/** Pictures as plain RGB bytes, from whatever an application has. */
import { show, SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { type DecodeOptions, decodeImage, type Image } from './decode.ts';
import { locate, readLocation } from '../files/source.ts';

/**
 * A picture the browser has decoded: ImageBitmap, HTMLImageElement, HTMLCanvasElement, OffscreenCanvas, ImageData.
 * Structural, so that nobody needs the DOM's types.
 */
export interface BitmapSource {
  readonly width: number;
  readonly height: number;
}

/** PNG or JPEG as bytes, Blob, path (Node, Deno, Bun) or URL; or a decoded picture. */
export type ImageInput = Image | BitmapSource | Uint8Array | ArrayBuffer | Blob | string | URL;

export interface ImageOptions extends DecodeOptions {
  /** An abort rejects with the signal's reason. */
  signal?: AbortSignal;
}

const PIXELS = field.anything<number>('a number, at least 1', (value) => typeof value === 'number' && value >= 1); // Infinity too
export const TO_IMAGE_FIELDS = {
  input: field.anything<ImageInput>('a picture'),
  options: field.optional(field.record<ImageOptions>({ signal: field.optional(field.signal), maxPixels: field.optional(PIXELS) })),
};

/**
 * Any picture as RGB bytes. An `Image` is checked and returned as it is.
 * @throws `invalid-image` when it cannot be read, decoded or drawn, or has more pixels than `maxPixels`.
 */
export async function toImage(input: ImageInput, options: ImageOptions = {}): Promise<Image> {
  field.checkFields('toImage', { input, options }, TO_IMAGE_FIELDS);
  const { signal } = options;
  signal?.throwIfAborted();
  if (input instanceof Uint8Array) return decodeImage(input, options);
  if (input instanceof ArrayBuffer) return decodeImage(new Uint8Array(input), options);
  if (typeof input === 'string' || input instanceof URL) {
    const read = async () => readLocation(locate(input), undefined, signal);
    return decodeImage(await readable(`${input}, which`, signal, read), options);
  }
  if (typeof input !== 'object' || input === null) throw invalidInput(show(input));
  if (input instanceof Blob) {
    const read = async () => new Uint8Array(await input.arrayBuffer()); // that of a file can be gone by now
    return decodeImage(await readable('a Blob that', signal, read), options);
  }
  if ('data' in input && input.data instanceof Uint8Array) return checkImage(input);
  return imageFromBitmap(input);
}

/**
 * Copies a decoded picture out of the browser. Alpha is dropped; except for ImageData, the browser may already have
 * lost the colour of transparent pixels. Needs a canvas, so outside of browsers only ImageData works.
 * @throws `invalid-image` when the picture is empty, not drawable, or from another origin without permission.
 */
export function imageFromBitmap(source: BitmapSource): Image {
  if (typeof source !== 'object' || source === null) throw invalidInput(show(source));
  const { width, height } = sizeOf(source);
  if (!isExtent(width) || !isExtent(height)) throw invalidInput(`a picture of ${show(width)} x ${show(height)} pixels; is it loaded?`);
  const rgba = 'data' in source ? source.data : draw(source, width, height);
  if (!(rgba instanceof Uint8ClampedArray) || rgba.length !== 4 * width * height) {
    throw invalidInput(`a ${width} x ${height} picture whose data is no ImageData of 8 bits`);
  }
  const data = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < data.length; from += 4) {
    data[to++] = rgba[from];
    data[to++] = rgba[from + 1];
    data[to++] = rgba[from + 2];
  }
  return { width, height, data };
}

/** An HTMLImageElement's width is its layout's; the picture's own size is `naturalWidth`. */
function sizeOf(source: BitmapSource & { naturalWidth?: number; naturalHeight?: number }): BitmapSource {
  return { width: source.naturalWidth ?? source.width, height: source.naturalHeight ?? source.height };
}

function draw(source: BitmapSource, width: number, height: number): Uint8ClampedArray {
  try {
    const canvas =
      typeof OffscreenCanvas === 'undefined'
        ? Object.assign(document.createElement('canvas'), { width, height })
        : new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d') as CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;
    context.drawImage(source as CanvasImageSource, 0, 0);
    return context.getImageData(0, 0, width, height).data;
  } catch (cause) {
    throw invalidInput(`a picture this runtime cannot draw (${messageOf(cause)})`, cause);
  }
}

async function readable(what: string, signal: AbortSignal | undefined, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await read();
  } catch (cause) {
    signal?.throwIfAborted();
    throw invalidInput(`${what} cannot be read (${messageOf(cause)})`, cause);
  }
}

/** Refuses what is no `Image` or whose data do not fit its size. */
export function checkImage({ width, height, data }: Image): Image {
  const isRgb = data instanceof Uint8Array;
  if (isRgb && isExtent(width) && isExtent(height) && data.length === 3 * width * height) return { width, height, data };
  const bytes = isRgb ? `${data.length} bytes` : show(data);
  throw invalidInput(`a ${show(width)} x ${show(height)} picture with ${bytes} of data, not 3 x width x height`);
}

function isExtent(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function invalidInput(got: string, cause?: unknown): SkipVisionError {
  const expected = 'RGB data, a PNG or JPEG (bytes, Blob, path or URL), or a decoded picture of a browser';
  return new SkipVisionError('invalid-image', `image is ${got}; expected ${expected}`, { argument: 'image', got, expected, cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
