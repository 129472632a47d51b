/**
 * How threads share the calls of one kernel: a block of shared linear memory, from which each takes the next call until none is
 * left. Used by the calling thread (pool.ts) and by its workers (worker.ts).
 *
 * `LEFT` counts down. Whoever lowers it from a positive value owns one call, and until it has counted that call in `DONE` the
 * calling thread does not leave; so what a thread reads after it got a call cannot change under it, however late it comes.
 * JavaScript atomics are sequentially consistent, which orders the kernels' plain loads and stores as well.
 */
export type Kernel = (...args: number[]) => unknown;

/** Indices of Int32; those that threads fight over stand on cache lines of their own. */
const LEFT = 0;
const DONE = 32;
const SLEEPING = 64; // workers in Atomics.wait, or about to be
const WAITING = 65; // whether the calling thread is
const FAILED = 66; // 1 + thread whose call trapped
const KERNEL = 96; // what the calls are: kernel, number of calls, arguments of each, the argument that is scratch memory, its bytes
const CALLS = 97;
const ARGUMENTS = 98;
const OWN = 99;
const STRIDE = 100;

const HEAD_BYTES = 512;
/** Arguments of all calls of a batch. */
const TABLE_NUMBERS = 8128;
export const CONTROL_BYTES = HEAD_BYTES + TABLE_NUMBERS * 8;

/** Far below what misses can take LEFT to, and far enough above the smallest number. */
const QUIT = -(2 ** 30);
/**
 * How long a thread polls before it sleeps: longer than what lies between two products (the last call of another thread, checks, packing),
 * or a worker would sleep before each. Waking takes 5-50 us; polling longer takes the core from whoever needs it.
 */
const SPIN_MS = 0.1;
const POLLS = 32;

export interface Control {
  slots: Int32Array;
  table: Float64Array;
}

/** Growing shared memory does not detach views, so these hold for good. */
export function controlOf(memory: WebAssembly.Memory, pointer: number): Control {
  return {
    slots: new Int32Array(memory.buffer, pointer, HEAD_BYTES / 4),
    table: new Float64Array(memory.buffer, pointer + HEAD_BYTES, TABLE_NUMBERS),
  };
}

/** In the order of the exports, which is the same in every instance. */
export function kernelsOf(exports: object): [names: string[], kernels: Kernel[]] {
  return [Object.keys(exports), Object.values(exports) as Kernel[]];
}

/** Calls per batch. */
export function batchSize(width: number): number {
  return Math.floor(TABLE_NUMBERS / Math.max(width, 1));
}

export interface Batch {
  kernel: number;
  calls: number;
  /** Arguments of each call; they stand in the table. */
  width: number;
  own: number;
  stride: number;
}

export function publish({ slots }: Control, { kernel, calls, width, own, stride }: Batch): void {
  slots[KERNEL] = kernel;
  slots[CALLS] = calls;
  slots[ARGUMENTS] = width;
  slots[OWN] = own;
  slots[STRIDE] = stride;
  Atomics.store(slots, FAILED, 0);
  Atomics.store(slots, DONE, 0);
  Atomics.store(slots, LEFT, calls);
  if (Atomics.load(slots, SLEEPING) > 0) Atomics.notify(slots, LEFT);
}

/** Runs calls until none is left. A trap does not stop the others: they write to memory that must not be freed under them. */
export function takeCalls({ slots, table }: Control, kernels: readonly Kernel[], thread: number): void {
  const args: number[] = [];
  while (Atomics.load(slots, LEFT) > 0) {
    const left = Atomics.sub(slots, LEFT, 1);
    if (left <= 0) return;
    const calls = slots[CALLS]!;
    const width = slots[ARGUMENTS]!;
    for (let i = 0, from = (calls - left) * width; i < width; i++) args[i] = table[from + i]!;
    args[slots[OWN]!]! += thread * slots[STRIDE]!;
    args.length = width;
    try {
      kernels[slots[KERNEL]!]!(...args);
    } catch {
      Atomics.store(slots, FAILED, thread + 1);
    }
    const done = Atomics.add(slots, DONE, 1) + 1;
    if (done === calls && Atomics.load(slots, WAITING)) Atomics.notify(slots, DONE);
  }
}

/**
 * Waits for the calls that others have taken; throws after `patience` seconds without any progress. Returns the thread whose call
 * trapped, -1 for none.
 */
export function join({ slots }: Control, mayWait: boolean, patience: number): number {
  const calls = slots[CALLS]!;
  const finished = () => Atomics.load(slots, DONE) === calls;
  if (!poll(finished, mayWait ? SPIN_MS : patience * 1000)) {
    if (!mayWait) throw new Error(`a worker did not answer for ${patience} s`);
    Atomics.store(slots, WAITING, 1);
    let idle = 0;
    // Rounds are counted, not time: a machine that was asleep meanwhile must not look like a dead worker.
    for (let done = Atomics.load(slots, DONE); done !== calls; done = Atomics.load(slots, DONE)) {
      idle = Atomics.wait(slots, DONE, done, 500) === 'timed-out' ? idle + 1 : 0;
      if (idle >= patience * 2) throw new Error(`a worker did not answer for ${patience} s`);
    }
    Atomics.store(slots, WAITING, 0);
  }
  return Atomics.load(slots, FAILED) - 1;
}

/** A worker's life. */
export function serve(control: Control, kernels: readonly Kernel[], thread: number): void {
  const { slots } = control;
  const called = () => {
    const left = Atomics.load(slots, LEFT);
    return left > 0 || left < QUIT / 2;
  };
  while (Atomics.load(slots, LEFT) > QUIT / 2) {
    takeCalls(control, kernels, thread);
    if (poll(called, SPIN_MS)) continue;
    Atomics.add(slots, SLEEPING, 1);
    // A call that is published from here on changes the value, or finds this worker counted.
    const left = Atomics.load(slots, LEFT);
    if (left <= 0 && left > QUIT / 2) Atomics.wait(slots, LEFT, left);
    Atomics.sub(slots, SLEEPING, 1);
  }
}

export function dismiss({ slots }: Control): void {
  Atomics.store(slots, LEFT, QUIT);
  Atomics.notify(slots, LEFT);
}

/** Whether `condition` came true within some milliseconds. */
function poll(condition: () => boolean, milliseconds: number): boolean {
  for (const end = performance.now() + milliseconds; ; ) {
    for (let i = 0; i < POLLS; i++) if (condition()) return true;
    if (performance.now() > end) return false;
  }
}
