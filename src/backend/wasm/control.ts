/**
 * How threads share the calls of one kernel: the calling thread (pool.ts) writes a batch of calls into a control block in shared
 * linear memory, and it and its workers (worker.ts) take calls from there until none is left.
 *
 * Protocol: `LEFT` is the number of calls that nobody has taken. A thread takes one by an atomic decrement; the call is its own if the
 * value was positive before. When it has run the call it increments `DONE`. The calling thread rewrites the block only after `DONE` has
 * reached the number of calls, so a thread that holds a call always reads the batch that the call belongs to. JavaScript atomics are
 * sequentially consistent, so they also order the plain loads and stores of the kernels.
 */
export type Kernel = (...args: number[]) => unknown;

/** Int32 indices into the block. LEFT and DONE, which all threads write, have cache lines of their own. */
const LEFT = 0;
const DONE = 32;
const SLEEPING = 64; // number of workers that are in Atomics.wait or about to call it
const WAITING = 65; // 1 while the calling thread is in Atomics.wait
const FAILED = 66; // 1 + the thread whose call trapped, 0 if none did
const KERNEL = 96; // index of the kernel
const CALLS = 97; // calls of the batch
const ARGUMENTS = 98; // arguments of one call
const OWN = 99; // index of the argument that is the address of a thread's scratch memory
const STRIDE = 100; // bytes between the scratch memory of one thread and the next

const HEAD_BYTES = 512;
/** Capacity of the table of arguments, which follows the head. */
const TABLE_NUMBERS = 8128;
export const CONTROL_BYTES = HEAD_BYTES + TABLE_NUMBERS * 8;

/** LEFT of a block that workers must leave for good. Threads that find no call lower LEFT below 0, but never as far as this. */
const QUIT = -(2 ** 30);
/**
 * How long a thread polls before it sleeps. Waking up takes 5-50 us, so a worker should still be polling when the next product comes: what
 * lies between two (the last call of another thread, checks, packing) is shorter than this. Longer would keep the core from others.
 */
const SPIN_MS = 0.1;
const POLLS = 32;

export interface Control {
  slots: Int32Array;
  table: Float64Array;
}

/** Views of the block. They stay valid: shared memory does not detach its views when it grows. */
export function controlOf(memory: WebAssembly.Memory, pointer: number): Control {
  return {
    slots: new Int32Array(memory.buffer, pointer, HEAD_BYTES / 4),
    table: new Float64Array(memory.buffer, pointer + HEAD_BYTES, TABLE_NUMBERS),
  };
}

/** The kernels by index. All threads have the same order, as they instantiate one module. */
export function kernelsOf(exports: object): [names: string[], kernels: Kernel[]] {
  return [Object.keys(exports), Object.values(exports) as Kernel[]];
}

/** Calls with `width` arguments each that fit into one batch. */
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

/** Runs calls until none is left, also after one has trapped: the calling thread waits for all of them before memory is freed. */
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
    // Patience is counted in waits of half a second, not by the clock: a laptop that was suspended must not look like a dead worker.
    for (let done = Atomics.load(slots, DONE); done !== calls; done = Atomics.load(slots, DONE)) {
      idle = Atomics.wait(slots, DONE, done, 500) === 'timed-out' ? idle + 1 : 0;
      if (idle >= patience * 2) throw new Error(`a worker did not answer for ${patience} s`);
    }
    Atomics.store(slots, WAITING, 0);
  }
  return Atomics.load(slots, FAILED) - 1;
}

/** What a worker does until it is dismissed. */
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
    // No wake-up is lost: a batch published before the next line changes LEFT, one published after it sees SLEEPING > 0 and notifies.
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
