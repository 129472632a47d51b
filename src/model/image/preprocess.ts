/** Hugging Face's CLIPImageProcessor: picture to the vision tower's input. */
import { SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import type { Image } from './decode.ts';
import { checkImage } from './image.ts';
import { Fields } from '../files/json.ts';
import { type Resample, resize } from './resample.ts';

export interface PreprocessorConfig {
  /** Absent: pictures are not resized. */
  resize?: { shortestEdge: number } | { height: number; width: number };
  resample: Resample;
  /** Cut around the centre, after resizing; smaller pictures get a black border. */
  centerCrop?: { height: number; width: number };
  /** Factor of the 8-bit samples; 1 when the model does not rescale. */
  rescaleFactor: number;
  /** Per channel; 0 when the model does not normalise. */
  mean: readonly number[];
  /** Per channel; 1 when the model does not normalise. */
  std: readonly number[];
}

export interface PixelValues {
  /** f32 [3, height, width]. */
  pixels: Float32Array;
  width: number;
  height: number;
}

const FILE = 'preprocessor_config.json';
const EDGE = { min: 1, max: 2 ** 14 };
const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];

const EXTENT = field.integer(EDGE);
const SIZE = field.record({ height: EXTENT, width: EXTENT });
const SHORTEST = field.record({ shortestEdge: EXTENT });
const isTarget = (value: unknown) => SHORTEST.accepts(value) || SIZE.accepts(value);
const isThree = (value: unknown) => Array.isArray(value) && value.length === 3 && value.every(Number.isFinite);
const CHANNELS = field.anything<readonly number[]>('three numbers, one per channel', isThree);
export const PREPROCESS_FIELDS = {
  image: field.anything<Image>('a picture as toImage gives it', (value) => typeof value === 'object' && value !== null),
  config: field.record<PreprocessorConfig>({
    resize: field.optional(field.anything('{ shortestEdge }, or { height, width }', isTarget)),
    resample: field.oneOf('nearest', 'bilinear', 'bicubic'),
    centerCrop: field.optional(SIZE),
    rescaleFactor: field.number(),
    mean: CHANNELS,
    std: CHANNELS,
  }),
};

/** By PIL's numbers of its filters. */
const RESAMPLES: Readonly<Record<number, Resample>> = { 0: 'nearest', 2: 'bilinear', 3: 'bicubic' };

/** A resized picture beyond this is a mistake: a line of pixels stretched to the model's shortest edge. */
const MAX_RESIZED_PIXELS = 64_000_000;

/**
 * Reads a parsed `preprocessor_config.json`; absent fields have CLIPImageProcessor's defaults.
 * @throws `unsupported` for another processor, filter or padding; `invalid-checkpoint` naming the field for bad values.
 */
export function parsePreprocessorConfig(json: unknown): PreprocessorConfig {
  const fields = new Fields(FILE, json);
  for (const key of ['image_processor_type', 'feature_extractor_type']) {
    const type = fields.string(key) ?? 'CLIP';
    if (!/^CLIP/.test(type)) throw fields.unsupported(key, 'CLIPImageProcessor');
  }
  if (fields.boolean('do_pad', false)) throw fields.unsupported('do_pad', 'false');
  const resample = fields.integer('resample', { min: 0, max: 5, default: 3 });
  if (!(resample in RESAMPLES)) throw fields.unsupported('resample', '0 (nearest), 2 (bilinear), 3 (bicubic)');
  const normalize = fields.boolean('do_normalize', true);
  return {
    resize: fields.boolean('do_resize', true) ? parseSize(fields) : undefined,
    resample: RESAMPLES[resample],
    centerCrop: fields.boolean('do_center_crop', true) ? parseCrop(fields) : undefined,
    rescaleFactor: fields.boolean('do_rescale', true) ? fields.number('rescale_factor', { min: 0, max: 1, default: 1 / 255 }) : 1,
    mean: normalize ? parseChannels(fields, 'image_mean', CLIP_MEAN, (value) => Math.abs(value) <= 255) : [0, 0, 0],
    std: normalize ? parseChannels(fields, 'image_std', CLIP_STD, (value) => value > 0 && value <= 255) : [1, 1, 1],
  };
}

/** A number is a shortest edge in old files. */
function parseSize(fields: Fields): PreprocessorConfig['resize'] {
  if (typeof fields.get('size') === 'number') return { shortestEdge: fields.integer('size', EDGE) };
  const size = fields.object('size', { shortest_edge: 224 });
  if (size.has('longest_edge')) throw size.unsupported('longest_edge', 'shortest_edge, or height and width');
  if (size.has('shortest_edge')) return { shortestEdge: size.integer('shortest_edge', EDGE) };
  return { height: size.integer('height', EDGE), width: size.integer('width', EDGE) };
}

/** A number is a square in old files. */
function parseCrop(fields: Fields): PreprocessorConfig['centerCrop'] {
  if (typeof fields.get('crop_size') === 'number') {
    const edge = fields.integer('crop_size', EDGE);
    return { height: edge, width: edge };
  }
  const size = fields.object('crop_size', { height: 224, width: 224 });
  return { height: size.integer('height', EDGE), width: size.integer('width', EDGE) };
}

function parseChannels(fields: Fields, key: string, absent: readonly number[], valid: (value: number) => boolean): readonly number[] {
  const value = fields.get(key) ?? absent;
  if (Array.isArray(value) && value.length === 3 && value.every((item) => typeof item === 'number' && valid(item))) return value;
  throw fields.invalid(key, 'three numbers in range, one per channel');
}

/**
 * Resize, centre crop, rescale, normalise. Equal to the processor that resizes with PIL, to f32 rounding.
 * @throws `invalid-image` when the picture is so narrow that resizing its shortest edge would make it huge.
 */
export function preprocess(image: Image, config: PreprocessorConfig): PixelValues {
  field.checkFields('preprocess', { image, config }, PREPROCESS_FIELDS);
  checkImage(image);
  const { width, height } = resizedSize(image, config.resize);
  if (width * height > MAX_RESIZED_PIXELS) {
    const got = `${image.width} x ${image.height} pixels, which resizing makes ${width} x ${height}`;
    const expected = `at most ${MAX_RESIZED_PIXELS} pixels after resizing`;
    throw new SkipVisionError('invalid-image', `image is ${got}, expected ${expected}`, { argument: 'image', got, expected });
  }
  const resized = resize(image, width, height, config.resample);
  return normalize(resized, config.centerCrop ?? { width, height }, config);
}

function resizedSize({ width, height }: Image, target: PreprocessorConfig['resize']): { width: number; height: number } {
  if (target === undefined) return { width, height };
  if ('width' in target) return target;
  const edge = target.shortestEdge;
  if (width <= height) return { width: edge, height: Math.trunc((edge * height) / width) };
  return { width: Math.trunc((edge * width) / height), height: edge };
}

/** Crops and normalises in one pass; what lies outside of the picture is black before normalisation. */
function normalize(image: Image, size: { width: number; height: number }, config: PreprocessorConfig): PixelValues {
  const { width, height } = size;
  const top = Math.floor((image.height - height) / 2);
  const left = Math.floor((image.width - width) / 2);
  const pixels = new Float32Array(3 * width * height);
  for (let channel = 0, to = 0; channel < 3; channel++) {
    const values = sampleValues(config, channel);
    for (let y = top; y < top + height; y++) {
      for (let x = left; x < left + width; x++) {
        const inside = x >= 0 && x < image.width && y >= 0 && y < image.height;
        pixels[to++] = values[inside ? image.data[3 * (y * image.width + x) + channel] : 0];
      }
    }
  }
  return { pixels, width, height };
}

/** The model's input for each of the 256 values of a sample, rounded to f32 where the processor rounds. */
function sampleValues({ rescaleFactor, mean, std }: PreprocessorConfig, channel: number): Float32Array {
  const f32 = Math.fround;
  return Float32Array.from({ length: 256 }, (_, sample) => f32(f32(sample * rescaleFactor) - f32(mean[channel])) / f32(std[channel]));
}
