/** GPU buffers in size classes: made once, then reused. */
import { invalidArgument, type SkipVisionError } from '../errors.ts';
import type { GpuOperand } from './binding.ts';

/** A range of a buffer, as it is bound: from `offset` on, so many bytes. */
export interface GpuRange extends GpuOperand {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  /** Of a whole buffer its size class, at least 256 of our own. */
  readonly bytes: number;
  /** Identity of the buffer for the bind group cache; never reused. */
  readonly id: number;
  /** Absent in memory itself. */
  readonly memory?: GpuMemory;
}

/** A buffer and what the driver must know about it. */
export interface GpuMemory extends GpuRange {
  /** Number of the last batch that uses it. */
  usedBy: number;
  /** True once its creation is known to have succeeded. */
  proven: boolean;
  /** Set when a batch that wrote it failed: its contents must not be taken for a result. */
  failure: SkipVisionError | undefined;
}

export function memoryOf(range: GpuRange): GpuMemory {
  return range.memory ?? (range as GpuMemory);
}

// Numbers of GPUBufferUsage and GPUMapMode: those globals are absent in Node.
export const MAP_READ = 0x1;
export const COPY_SRC = 0x4;
export const COPY_DST = 0x8;
export const UNIFORM = 0x40;
export const STORAGE = 0x80;

const SMALLEST = 256;
let lastId = 0;
/** Idle buffers beyond this many bytes are destroyed instead of kept. */
const MOST_IDLE_BYTES = 512 * 2 ** 20;

/** Powers of two up to 64 KiB, then four classes per octave: at most 25% of a large buffer is unused. */
export function sizeClass(bytes: number, most: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const octave = 2 ** Math.floor(Math.log2(bytes - 1));
  const step = octave < 2 ** 16 ? octave : octave / 4;
  return Math.min(Math.ceil(bytes / step) * step, Math.max(most, bytes));
}

/**
 * Hands out buffers. A buffer that an unsubmitted batch uses may be reused by commands of that batch, which run in
 * order, but not for data from the host: `writeBuffer` would run before the batch.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #usage: GPUBufferUsageFlags;
  readonly #mostBytes: number;
  /** Called around the creation of a buffer, to catch what goes wrong with it. */
  readonly #guard: (memory: () => GpuMemory) => GpuMemory;
  readonly #idle = new Map<number, GpuMemory[]>();
  readonly #all = new Set<GpuMemory>();
  /** Freed, but still used by the batch being recorded. */
  #doomed: GpuMemory[] = [];
  #idleBytes = 0;
  /** Bytes of all buffers that exist. */
  reserved = 0;

  constructor(device: GPUDevice, usage: GPUBufferUsageFlags, mostBytes: number, guard: (memory: () => GpuMemory) => GpuMemory) {
    this.#device = device;
    this.#usage = usage;
    this.#mostBytes = mostBytes;
    this.#guard = guard;
  }

  /** A buffer of at least `bytes`, from the idle ones where possible. `fresh` says that the host writes it first. */
  acquire(bytes: number, batch: number, fresh: boolean): GpuMemory {
    const size = sizeClass(bytes, this.#mostBytes);
    const list = this.#idle.get(size);
    if (list) {
      for (let i = list.length - 1; i >= 0; i--) {
        const memory = list[i]!;
        if (fresh && memory.usedBy >= batch) continue;
        list.splice(i, 1);
        this.#idleBytes -= size;
        return memory;
      }
    }
    return this.create(size);
  }

  /** A buffer of exactly `bytes` rounded up to 16, outside the size classes: packed weights. */
  create(bytes: number): GpuMemory {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const memory = this.#guard(() => {
      const buffer = this.#device.createBuffer({ size, usage: this.#usage });
      return { buffer, offset: 0, bytes: size, id: ++lastId, usedBy: -1, proven: false, failure: undefined };
    });
    this.#all.add(memory);
    this.reserved += size;
    return memory;
  }

  /** Takes a buffer back. Buffers of a failed batch are not trusted again. */
  release(memory: GpuMemory, batch: number): void {
    if (memory.failure || this.#idleBytes + memory.bytes > MOST_IDLE_BYTES) {
      this.destroy(memory, batch);
      return;
    }
    const list = this.#idle.get(memory.bytes);
    if (list) list.push(memory);
    else this.#idle.set(memory.bytes, [memory]);
    this.#idleBytes += memory.bytes;
  }

  /** Destroys a buffer, after the submit of `batch` if that uses it. */
  destroy(memory: GpuMemory, batch: number): void {
    if (memory.usedBy >= batch) {
      this.#doomed.push(memory);
      return;
    }
    if (!this.#all.delete(memory)) return;
    this.reserved -= memory.bytes;
    memory.buffer.destroy();
  }

  /** To be called after each submit. True when buffers were destroyed. */
  submitted(): boolean {
    const doomed = this.#doomed;
    this.#doomed = [];
    for (const memory of doomed) this.destroy(memory, Number.POSITIVE_INFINITY);
    return doomed.length > 0;
  }

  /** Destroys every buffer that was made here, idle or not. */
  dispose(): void {
    for (const memory of this.#all) memory.buffer.destroy();
    this.#all.clear();
    this.#idle.clear();
    this.#doomed = [];
    this.#idleBytes = 0;
    this.reserved = 0;
  }
}

const borrowedIds = new WeakMap<GPUBuffer, number>();

/** Checks a caller's buffer by structure and wraps it. Of a larger buffer the first `mostBytes` are bound. */
export function borrowBuffer(handle: unknown, bytes: number, mostBytes: number): GpuMemory {
  const buffer = handle as GPUBuffer;
  const fail = (got: string, expected: string): never => {
    throw invalidArgument('borrow', 'handle', got, expected);
  };
  const isBuffer = typeof handle === 'object' && handle !== null && typeof buffer.size === 'number' && typeof buffer.usage === 'number';
  if (!isBuffer) fail(handle === null ? 'null' : `a ${typeof handle}`, 'a GPUBuffer of the device of this backend');
  if (!(buffer.usage & STORAGE)) fail(`a buffer with usage ${buffer.usage}`, 'a GPUBuffer with usage STORAGE');
  const least = Math.max(bytes, 4);
  const bound = Math.floor(Math.min(buffer.size, mostBytes) / 4) * 4;
  if (bound < least) fail(`a buffer of ${buffer.size} bytes`, `at least ${least} bytes, of which at most ${mostBytes} can be used`);
  const id = borrowedIds.get(buffer) ?? ++lastId;
  borrowedIds.set(buffer, id);
  return { buffer, offset: 0, bytes: bound, id, usedBy: -1, proven: false, failure: undefined };
}
