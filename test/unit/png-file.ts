import { crc32, deflateSync } from 'node:zlib';

/** PNG's colour types. */
export const GREY = 0;
export const RGB = 2;
export const PALETTE = 3;
export const GREY_ALPHA = 4;
export const RGBA = 6;

export interface Png {
  width: number;
  height: number;
  colorType: number;
  depth?: number;
  interlaced?: boolean;
  /** Rows as they are stored, samples packed, without filter bytes. */
  rows: readonly (readonly number[])[];
  palette?: readonly number[];
  /** Contents of a tRNS chunk. */
  transparency?: readonly number[];
}

/** A PNG in memory, for tests: exactly the bytes asked for, right or wrong. */
export function pngFile({ width, height, colorType, depth = 8, interlaced = false, rows, palette, transparency }: Png): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colorType, 0, 0, interlaced ? 1 : 0], 8);
  const noFilter = 0;
  const chunks = [
    chunk('IHDR', header),
    ...(palette === undefined ? [] : [chunk('PLTE', Buffer.from(palette))]),
    ...(transparency === undefined ? [] : [chunk('tRNS', Buffer.from(transparency))]),
    chunk('IDAT', deflateSync(Buffer.from(rows.flatMap((row) => [noFilter, ...row])))),
    chunk('IEND', Buffer.alloc(0)),
  ];
  return new Uint8Array(Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ...chunks]));
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
