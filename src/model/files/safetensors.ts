/** Reader of the safetensors format: 8 bytes header length, a JSON header, then the tensors' bytes (little-endian). */
import * as field from '../../backend/fields.ts';
import { describe, Fields, invalidCheckpoint, isObject, type JsonObject, parseJson } from './json.ts';

/** Bytes per element of every dtype of the format. Only F32, F16 and BF16 can become floats here. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** The format's own limit; a larger number means that the first 8 bytes are no header length. */
const MAX_HEADER_BYTES = 100_000_000;

export interface SafeTensor {
  readonly name: string;
  /** As the format spells it: F32, F16, BF16, I64, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** View of the file's bytes, little-endian, at any alignment. */
  readonly data: Uint8Array;
}

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

export const PARSE_SAFETENSORS_FIELDS = { bytes: field.instance(Uint8Array), file: field.text };

/**
 * Parses a safetensors file without copying tensor bytes. Unused bytes between tensors are accepted.
 * @throws `invalid-checkpoint` naming the file or the tensor for anything else that is wrong with the bytes.
 */
export function parseSafetensors(bytes: Uint8Array, file: string): SafetensorsFile {
  field.checkFields('parseSafetensors', { bytes, file }, PARSE_SAFETENSORS_FIELDS);
  const { header, data } = splitHeader(bytes, file);
  const tensors = new Map<string, SafeTensor>();
  let metadata: SafetensorsFile['metadata'] = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isStringRecord(entry)) throw invalidCheckpoint(file, name, describe(entry), 'an object of strings');
      metadata = entry;
      continue;
    }
    tensors.set(name, parseEntry(file, name, entry, data));
  }
  checkOverlap(file, data, [...tensors.values()]);
  return { tensors, metadata };
}

/**
 * The elements of a tensor as f32, row-major. F32 bytes at a multiple of 4 are returned as a view (do not write to it),
 * everything else as a copy.
 * @throws `invalid-checkpoint` naming the tensor when its dtype is none of F32, F16, BF16.
 */
export function toFloat32(tensor: SafeTensor): Float32Array {
  switch (tensor.dtype) {
    case 'F32':
      return new Float32Array(...elements(tensor.data, 4));
    case 'F16':
      return fromHalf(new Uint16Array(...elements(tensor.data, 2)));
    case 'BF16':
      return fromBfloat16(new Uint16Array(...elements(tensor.data, 2)));
    default:
      throw invalidCheckpoint(tensor.name, tensor.name, tensor.dtype, 'F32, F16 or BF16');
  }
}

function splitHeader(bytes: Uint8Array, file: string): { header: JsonObject; data: Uint8Array } {
  if (bytes.length < 8) throw invalidCheckpoint(file, file, `${bytes.length} bytes long`, 'at least the 8 bytes of a header length');
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw invalidCheckpoint(file, file, `a file with a header of ${length} bytes`, `a header of at most ${MAX_HEADER_BYTES} bytes`);
  }
  if (length > bytes.length - 8) {
    throw invalidCheckpoint(file, file, `${bytes.length} bytes long`, `at least ${length + 8}, as its header has ${length} bytes`);
  }
  const text = bytes.subarray(8, 8 + length);
  const header = parseJson(text, file);
  if (!isObject(header)) throw invalidCheckpoint(file, file, `a file with the header ${describe(header)}`, 'a JSON object as header');
  checkDuplicates(file, new TextDecoder().decode(text), header);
  return { header, data: bytes.subarray(8 + length) };
}

/** JSON.parse keeps the last of equal keys. Only top-level keys have objects as values, so they can be told by the brace. */
function checkDuplicates(file: string, text: string, header: JsonObject): void {
  const seen = new Set<string>();
  for (const [, key, value] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:\s*\{)?/g)) {
    if (value === undefined) continue;
    const name = JSON.parse(key) as string;
    if (seen.has(name) && Object.hasOwn(header, name)) {
      throw invalidCheckpoint(file, name, 'in the header more than once', 'unique names');
    }
    seen.add(name);
  }
}

function parseEntry(file: string, name: string, entry: unknown, data: Uint8Array): SafeTensor {
  const fields = new Fields(file, entry, name);
  const dtype = fields.string('dtype') ?? '';
  if (!Object.hasOwn(DTYPE_BYTES, dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(', ');
    throw invalidCheckpoint(file, name, `of dtype ${describe(fields.get('dtype'))}`, `one of ${known}`);
  }
  const shape = fields.get('shape');
  if (!isSizeList(shape)) throw invalidCheckpoint(file, name, `of shape ${describe(shape)}`, 'a list of non-negative integers');
  const offsets = fields.get('data_offsets');
  if (!isSizeList(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw invalidCheckpoint(file, name, `at data_offsets ${describe(offsets)}`, '[begin, end] with 0 <= begin <= end');
  }
  const [begin, end] = offsets;
  if (end > data.length) {
    const expected = `an end within the ${data.length} bytes of data; is the file truncated?`;
    throw invalidCheckpoint(file, name, `at bytes ${begin} to ${end}`, expected);
  }
  const size = shape.reduce((product, extent) => product * extent, DTYPE_BYTES[dtype]);
  if (size !== end - begin) {
    throw invalidCheckpoint(file, name, `${end - begin} bytes long`, `${size} bytes for ${dtype} [${shape.join(', ')}]`);
  }
  return { name, dtype, shape, data: data.subarray(begin, end) };
}

function isStringRecord(value: unknown): value is Readonly<Record<string, string>> {
  return isObject(value) && Object.values(value).every((item) => typeof item === 'string');
}

function isSizeList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function checkOverlap(file: string, whole: Uint8Array, tensors: readonly SafeTensor[]): void {
  const beginOf = ({ data }: SafeTensor) => data.byteOffset - whole.byteOffset;
  const filled = tensors.filter(({ data }) => data.length > 0).sort((a, b) => beginOf(a) - beginOf(b));
  for (let i = 1; i < filled.length; i++) {
    const [before, tensor] = [filled[i - 1], filled[i]];
    const [begin, end] = [beginOf(tensor), beginOf(before) + before.data.length];
    if (begin >= end) continue;
    const got = `at bytes ${begin} to ${begin + tensor.data.length}`;
    throw invalidCheckpoint(file, tensor.name, got, `no overlap with ${before.name}, which ends at ${end}`);
  }
}

/** Where the bytes are, in elements of `size`. A typed array starts at a multiple of it only: elsewhere it is a copy. */
function elements(data: Uint8Array, size: number): [buffer: ArrayBufferLike, byteOffset: number, length: number] {
  // Of a Node Buffer, too: its slice would be a view.
  const { buffer, byteOffset, byteLength } = data.byteOffset % size === 0 ? data : new Uint8Array(data);
  return [buffer, byteOffset, byteLength / size];
}

function fromBfloat16(source: Uint16Array): Float32Array {
  const bits = new Uint32Array(source.length);
  for (let i = 0; i < bits.length; i++) bits[i] = source[i] << 16;
  return new Float32Array(bits.buffer);
}

/** Exact. The half's exponent and fraction read as f32 are the value times 2^-112, subnormals included. */
function fromHalf(source: Uint16Array): Float32Array {
  const bits = new Uint32Array(source.length);
  const values = new Float32Array(bits.buffer);
  for (let i = 0; i < bits.length; i++) {
    bits[i] = (source[i] & 0x7fff) << 13;
    values[i] *= 2 ** 112;
    if (values[i] >= 65536) bits[i] |= 0x7f800000; // exponent 31 is infinity or NaN
    bits[i] |= (source[i] & 0x8000) << 16;
  }
  return values;
}
