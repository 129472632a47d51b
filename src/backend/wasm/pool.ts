/** Worker threads that share kernel calls with the calling thread. Imported only where threads are asked for. */
import { SkipVisionError } from '../errors.ts';
import type { Binary } from './binary.ts';
import type { SharedCalls, WasmKernels } from './binding.ts';
import { batchSize, CONTROL_BYTES, type Control, controlOf, dismiss, join, kernelsOf, publish, takeCalls } from './control.ts';
import type { LinearMemory } from './memory.ts';
import type { Answer, Hire } from './worker.ts';

export interface PoolOptions {
  linear: LinearMemory;
  binary: Binary;
  threads: number;
  workerUrl?: string | URL;
  shareFrom?: number;
  /** Seconds without any progress after which a worker is taken for dead. */
  patience?: number;
}

/** A worker, behind what differs between Node and browsers. */
interface Hand {
  hire(message: Hire): void;
  /** Settles with the first answer; rejects when the worker fails before it. */
  ready: Promise<void>;
  /** Called with the reason when the worker fails or ends. */
  onEnd?: (reason: string) => void;
  /** Lets the process end although the worker lives. */
  unref(): void;
  terminate(): unknown;
}

/** Multiply-adds that take one thread some microseconds. */
const SHARE_FROM = 100_000;
const PATIENCE = 10;
/** Long, as the worker's file may come over a slow line; but not forever, as a worker that a policy blocks may never report it. */
const START_MS = 15_000;

export interface Pool {
  readonly threads: number;
  readonly shareFrom: number;
  run<Name extends keyof WasmKernels>(op: string, calls: SharedCalls<Name>): void;
  dispose(): Promise<void>;
}

/** Resolves when all workers are ready; throws, with none left behind, when one is not to be had. */
export async function startPool(options: PoolOptions): Promise<Pool> {
  const { linear, binary, threads, workerUrl, shareFrom = SHARE_FROM, patience = PATIENCE } = options;
  const pointer = linear.allocate(CONTROL_BYTES);
  linear.bytes(pointer, CONTROL_BYTES).fill(0);
  const control = controlOf(linear.memory, pointer);
  const hands: Hand[] = [];
  try {
    for (let thread = 1; thread < threads; thread++) hands.push(newHand(workerUrl));
    for (const [i, hand] of hands.entries()) hand.hire({ module: binary.module, memory: linear.memory, control: pointer, thread: i + 1 });
    await withinTime(Promise.all(hands.map(({ ready }) => ready)));
    for (const hand of hands) hand.unref();
  } catch (error) {
    dismiss(control);
    for (const hand of hands) hand.terminate();
    throw error;
  }

  const [names, kernels] = kernelsOf(binary.kernels);
  const sleeps = mayWait(control);
  let failure: SkipVisionError | undefined;
  let disposed = false;
  const fail = (reason: string) => {
    const message = `a thread of this wasm backend is lost (${reason}). Make a new backend and upload again.`;
    if (!disposed) failure ??= new SkipVisionError('backend-failed', message);
  };
  for (const hand of hands) hand.onEnd = fail;

  const joinThreads = (op: string, kernel: string) => {
    let trapped: number;
    try {
      trapped = join(control, sleeps, patience);
    } catch (error) {
      // The worker may still be running its call and write to memory that would be reused: this backend cannot go on.
      fail((error as Error).message);
      throw failure;
    }
    if (trapped >= 0) throw new SkipVisionError('backend-failed', `${op}: the kernel ${kernel} trapped in thread ${trapped}`, { op });
  };

  return {
    threads,
    shareFrom,
    run(op, { kernel, calls, work, args, own }) {
      if (failure) throw failure;
      const index = names.indexOf(kernel);
      if (calls < 2 || work < shareFrom) {
        for (let call = 0; call < calls; call++) kernels[index]!(...args(call));
        return;
      }
      for (let first = 0, next = 0; first < calls; first = next) {
        const { length: width } = args(first);
        next = Math.min(calls, first + batchSize(width));
        for (let call = first; call < next; call++) control.table.set(args(call), (call - first) * width);
        publish(control, { kernel: index, calls: next - first, width, own: own.argument, stride: own.stride });
        takeCalls(control, kernels, 0);
        joinThreads(op, kernel);
      }
    },
    async dispose() {
      disposed = true;
      dismiss(control);
      await Promise.all(hands.map((hand) => hand.terminate()));
    },
  };
}

async function withinTime(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the workers did not start within ${START_MS / 1000} s`)), START_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Browsers forbid their main thread to sleep. */
function mayWait({ slots }: Control): boolean {
  try {
    Atomics.wait(slots, 0, ~Atomics.load(slots, 0), 0);
    return true;
  } catch {
    return false;
  }
}

interface NodeWorker {
  postMessage(message: Hire): void;
  on(event: 'message' | 'error' | 'exit', listener: (value: unknown) => void): void;
  unref(): void;
  terminate(): Promise<number>;
}
interface NodeThreads {
  Worker: new (url: string | URL, options: object) => NodeWorker;
}
interface Host {
  Worker?: unknown;
  Bun?: object;
  document?: object;
  process?: { getBuiltinModule?(name: 'node:worker_threads'): NodeThreads };
}

function newHand(workerUrl: string | URL | undefined): Hand {
  const threads = nodeThreads();
  if (threads) {
    const url = workerUrl ?? new URL('./worker.ts', import.meta.url);
    // Without the flags of the process: what it preloads is not needed in a thread that runs kernels only.
    return nodeHand(new threads.Worker(typeof url === 'string' && /^(file|data):/.test(url) ? new URL(url) : url, { execArgv: [] }));
  }
  if (typeof Worker !== 'function') throw new Error('this host has no workers');
  // Bundlers look for exactly this expression, so it is spelled out.
  const worker = workerUrl
    ? new Worker(workerUrl, { type: 'module' })
    : new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  return browserHand(worker);
}

/**
 * Node's threads, also where somebody has made a global `Worker` of them that is none; and Deno's imitation of them, as its own
 * workers keep the process alive whatever one does. Not in a page that has Node (Electron): there they do not work.
 */
function nodeThreads(): NodeThreads | undefined {
  const { Worker: Global, Bun, document, process } = globalThis as Host;
  if (Global && (Bun || document)) return undefined;
  return process?.getBuiltinModule?.('node:worker_threads');
}

function browserHand(worker: Worker & { unref?(): void }): Hand {
  const { hand, answered, ended } = handOf(worker);
  worker.addEventListener('message', ({ data }) => answered(data as Answer));
  worker.addEventListener('error', (event) => {
    event.preventDefault(); // it is reported by us
    ended(event.message || 'the worker file could not be loaded');
  });
  worker.addEventListener('close', () => ended('it ended')); // Bun and Deno tell
  return hand;
}

function nodeHand(worker: NodeWorker): Hand {
  const { hand, answered, ended } = handOf(worker);
  worker.on('message', (message) => answered(message as Answer));
  worker.on('error', (error) => ended(error instanceof Error ? error.message : String(error)));
  worker.on('exit', (status) => ended(`it ended with ${String(status)}`));
  return hand;
}

/** A hand, and what to call when its worker answers or is no more. */
function handOf(worker: Pick<NodeWorker, 'postMessage'> & { unref?(): void; terminate(): unknown }) {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const ready = new Promise<void>((...both) => {
    [resolve, reject] = both;
  });
  ready.catch(() => {}); // when starting has timed out nobody waits for it any more
  const hand: Hand = {
    hire: (message) => worker.postMessage(message),
    ready,
    unref: () => worker.unref?.(),
    terminate: () => worker.terminate(),
  };
  const answered = ({ refusal }: Answer) => (refusal === undefined ? resolve() : reject(new Error(refusal)));
  const ended = (reason: string) => {
    reject(new Error(reason));
    hand.onEnd?.(reason);
  };
  return { hand, answered, ended };
}
