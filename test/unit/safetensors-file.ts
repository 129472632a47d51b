/** A safetensors file in memory, for tests. */

export interface Entry {
  dtype: string;
  shape: unknown;
  bytes: Uint8Array;
}

export function f32(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** A file with any header text at all; `pad` spaces at its end shift the alignment of the data. */
export function rawFile(header: string, data: Uint8Array, pad = 0): Uint8Array {
  const text = new TextEncoder().encode(header + ' '.repeat(pad));
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** A file whose data starts at a multiple of 8, as the format's own writer makes them. */
export function safetensorsFile(entries: Readonly<Record<string, Entry>>, metadata?: Readonly<Record<string, string>>): Uint8Array {
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata };
  const data: number[] = [];
  for (const [name, { dtype, shape, bytes }] of Object.entries(entries)) {
    header[name] = { dtype, shape, data_offsets: [data.length, data.length + bytes.length] };
    data.push(...bytes);
  }
  const text = JSON.stringify(header);
  return rawFile(text, Uint8Array.from(data), (8 - (new TextEncoder().encode(text).length % 8)) % 8);
}
