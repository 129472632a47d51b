/** Linear memory and its allocator. The kernels never allocate; what they may touch is decided here. */
import { SkipVisionError } from '../errors.ts';

export const PAGE = 65536;
/** 4 GiB, the most that 32-bit addresses reach. */
export const MAXIMUM_PAGES = 65536;
/** Cache line, and a multiple of every vector width. */
const ALIGNMENT = 64;
/** The first bytes hold the constants of the kernels: build/compile.ts sees to it that they do not reach further. */
export const RESERVED = 1024;
/** Memory grows by at least this many pages (1 MiB), so that many small tensors do not mean many grows. */
const GROWTH_PAGES = 16;

interface Block {
  start: number;
  size: number;
}

/**
 * First fit over a free list in address order; neighbours are joined when a block is freed. Address 0 is never handed
 * out (kernels read it as "absent"), and an empty allocation has an address of its own.
 * Growing detaches every view of the old buffer: make views at the time of use, never keep one.
 */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  readonly #free: Block[] = [];
  readonly #sizes = new Map<number, number>();
  readonly maximumPages: number;
  readonly shared: boolean;
  #used = 0;

  /** `shared`: for use by several threads; its `buffer` is a SharedArrayBuffer. */
  constructor(maximumPages: number = MAXIMUM_PAGES, shared = false) {
    this.maximumPages = maximumPages;
    this.shared = shared;
    try {
      this.memory = new WebAssembly.Memory({ initial: 1, maximum: maximumPages, shared });
    } catch (cause) {
      throw new SkipVisionError('out-of-memory', `no linear memory of up to ${maximumPages} pages could be made`, { cause });
    }
    this.#free.push({ start: RESERVED, size: PAGE - RESERVED });
  }

  /** Bytes handed out, rounding included. */
  get used(): number {
    return this.#used;
  }

  /** Bytes held from the system. Linear memory never shrinks. */
  get reserved(): number {
    return this.memory.buffer.byteLength;
  }

  /** Address of `bytes` bytes, 64-byte aligned, contents undefined. Changes nothing when it throws. */
  allocate(bytes: number): number {
    const size = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    let index = this.#free.findIndex((block) => block.size >= size);
    if (index < 0) {
      this.#grow(size);
      index = this.#free.length - 1;
    }
    const block = this.#free[index]!;
    const { start } = block;
    if (block.size === size) this.#free.splice(index, 1);
    else this.#free[index] = { start: start + size, size: block.size - size };
    this.#sizes.set(start, size);
    this.#used += size;
    return start;
  }

  /** Returns a block. Unknown addresses (freed twice, never handed out) are a fault of the caller and throw. */
  free(pointer: number): void {
    const size = this.#sizes.get(pointer);
    if (size === undefined)
      throw new SkipVisionError('invalid-argument', `free: address ${pointer} is not allocated`, { op: 'free', argument: 'pointer' });
    this.#sizes.delete(pointer);
    this.#used -= size;
    this.#release(pointer, size);
  }

  f32(pointer: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.memory.buffer as ArrayBuffer, pointer, length);
  }

  u32(pointer: number, length: number): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.memory.buffer as ArrayBuffer, pointer, length);
  }

  bytes(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.memory.buffer as ArrayBuffer, pointer, length);
  }

  /** Makes the last free block at least `size` bytes long. */
  #grow(size: number): void {
    const end = this.reserved;
    const last = this.#free.at(-1);
    const tail = last && last.start + last.size === end ? last.size : 0;
    const needed = Math.ceil((size - tail) / PAGE);
    const pages = this.#growBy(Math.max(needed, GROWTH_PAGES)) || this.#growBy(needed);
    if (!pages) {
      const message = `${size} bytes asked, ${this.#used} in use and ${end} held: linear memory cannot grow by ${needed} pages`;
      const details = { got: `${size} bytes`, expected: `at most ${tail} bytes without growing` };
      throw new SkipVisionError('out-of-memory', message, details);
    }
    this.#release(end, pages * PAGE);
  }

  /** Pages gained: `pages` or 0. */
  #growBy(pages: number): number {
    try {
      return this.memory.grow(pages) >= 0 ? pages : 0;
    } catch {
      return 0; // the caller reports it, with the numbers
    }
  }

  #release(start: number, size: number): void {
    const at = this.#free.findLastIndex((block) => block.start < start) + 1;
    const before = this.#free[at - 1];
    const after = this.#free[at];
    const joinsBefore = before !== undefined && before.start + before.size === start;
    const joinsAfter = after !== undefined && start + size === after.start;
    const block = {
      start: joinsBefore ? before.start : start,
      size: size + (joinsBefore ? before.size : 0) + (joinsAfter ? after.size : 0),
    };
    this.#free.splice(joinsBefore ? at - 1 : at, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), block);
  }
}

/** Runs `use` with a copy of `data` in linear memory. */
export function staged(
  memory: LinearMemory,
  data: Float32Array | Int8Array | Uint8Array | Uint16Array,
  use: (pointer: number) => void,
): void {
  const pointer = memory.allocate(data.byteLength);
  try {
    memory.bytes(pointer, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    use(pointer);
  } finally {
    memory.free(pointer);
  }
}
