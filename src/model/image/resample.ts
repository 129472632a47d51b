/** PIL's `Image.resize`, to the bit: preprocessing of the models this package runs was done with it. */
import type { Image } from './decode.ts';

export type Resample = 'nearest' | 'bilinear' | 'bicubic';

/** Fraction bits of PIL's integer weights: 8 bits of sample and 2 of headroom stay free in 32. */
const PRECISION = 22;

interface Filter {
  /** Half the width at scale 1. */
  support: number;
  weight(x: number): number;
}

const FILTERS: Readonly<Record<Exclude<Resample, 'nearest'>, Filter>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => keys(Math.abs(x)) },
};

/** The cubic of Keys with a = -0.5. */
function keys(x: number): number {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** Resizes to width x height. Shrinking widens the filter, so it does not alias. */
export function resize(image: Image, width: number, height: number, resample: Resample): Image {
  if (resample === 'nearest') return nearest(image, width, height);
  const filter = FILTERS[resample];
  const wide = width === image.width ? image : resizeRows(image, width, filter);
  return height === image.height ? wide : resizeColumns(wide, height, filter);
}

function nearest(image: Image, width: number, height: number): Image {
  const columns = nearestSources(image.width, width);
  const rows = nearestSources(image.height, height);
  const data = new Uint8Array(3 * width * height);
  let to = 0;
  for (const y of rows) {
    for (const x of columns) {
      const from = 3 * (y * image.width + x);
      data.set(image.data.subarray(from, from + 3), to);
      to += 3;
    }
  }
  return { width, height, data };
}

/** Steps are added up, not multiplied, because their rounding decides between neighbours. */
function nearestSources(from: number, to: number): Uint32Array {
  const scale = from / to;
  const sources = new Uint32Array(to);
  for (let i = 0, x = scale * 0.5; i < to; i++, x += scale) sources[i] = Math.min(Math.floor(x), from - 1);
  return sources;
}

/** For each output sample its first source sample, how many they are, and their integer weights, `stride` of them apart. */
function taps(from: number, to: number, filter: Filter) {
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const result = { stride, first: new Uint32Array(to), count: new Uint32Array(to), weights: new Int32Array(to * stride) };
  const row = new Float64Array(stride);
  for (let i = 0; i < to; i++) {
    // Products and quotients in PIL's order, so that weights round as there.
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(from, Math.trunc(center + support + 0.5)) - first;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      row[k] = filter.weight((k + first - center + 0.5) * (1 / filterScale));
      sum += row[k];
    }
    result.first[i] = first;
    result.count[i] = count;
    for (let k = 0; k < count; k++) {
      const weight = (row[k] / sum) * 2 ** PRECISION;
      result.weights[i * stride + k] = Math.trunc(weight + Math.sign(weight) * 0.5);
    }
  }
  return result;
}

/** Sums are below 2^31 in size: 255 times weights that add up to 2^22, with a little overshoot. */
function toByte(sum: number): number {
  return Math.min(255, Math.max(0, sum >> PRECISION));
}

const HALF = 2 ** (PRECISION - 1);

function resizeRows(image: Image, width: number, filter: Filter): Image {
  const { stride, first, count, weights } = taps(image.width, width, filter);
  const { height, data: source } = image;
  const data = new Uint8Array(3 * width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let [r, g, b] = [HALF, HALF, HALF];
      let from = 3 * (y * image.width + first[x]);
      for (let k = x * stride; k < x * stride + count[x]; k++) {
        r += source[from++] * weights[k];
        g += source[from++] * weights[k];
        b += source[from++] * weights[k];
      }
      data[to++] = toByte(r);
      data[to++] = toByte(g);
      data[to++] = toByte(b);
    }
  }
  return { width, height, data };
}

function resizeColumns(image: Image, height: number, filter: Filter): Image {
  const { stride, first, count, weights } = taps(image.height, height, filter);
  const { width, data: source } = image;
  const rowBytes = 3 * width;
  const data = new Uint8Array(rowBytes * height);
  const sums = new Float64Array(rowBytes);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let k = 0; k < count[y]; k++) {
      const weight = weights[y * stride + k];
      const from = (first[y] + k) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] += source[from + i] * weight;
    }
    for (let i = 0; i < rowBytes; i++) data[y * rowBytes + i] = toByte(sums[i]);
  }
  return { width, height, data };
}
