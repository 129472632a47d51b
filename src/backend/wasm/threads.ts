/** Whether a wasm backend can have several threads here, and what it then consists of. */
import { type Binary, type BinaryOptions, loadBinary } from './binary.ts';
import { LinearMemory, MAXIMUM_PAGES } from './memory.ts';
import type { Pool } from './pool.ts';

export interface ThreadOptions {
  /**
   * Threads that work on one call, the calling one included. Default 1. More need shared memory (in a page: cross-origin
   * isolation) and a worker file; where they are not to be had the backend runs on one, its features lack 'threads' and its
   * description says why. Results are the same to the bit.
   */
  threads?: number;
  /** The package's `worker.js` where it does not lie beside the module that this one was bundled into. */
  workerUrl?: string | URL;
  /** Multiply-adds from which threads share the calls of an op; fewer take one thread less time than waking others. Default 100,000. */
  shareFrom?: number;
}

export interface Threaded {
  memory: LinearMemory;
  binary: Binary;
  pool: Pool;
}

/** Engines reserve addresses for the maximum of a shared memory; where they refuse 4 GiB, 1 GiB may do. */
const SHARED_MAXIMA = [MAXIMUM_PAGES, MAXIMUM_PAGES / 4];

/** The parts of a backend with several threads, or the reason why there is none. */
export async function startThreads(threads: number, options: BinaryOptions & ThreadOptions): Promise<Threaded | string> {
  const { workerUrl, shareFrom } = options;
  const noSharing = whyNoSharing();
  if (noSharing) return `${threads} threads were asked for, but ${noSharing}`;
  try {
    const memory = sharedMemory();
    const binary = await loadBinary(memory, options);
    // Imported only here: it uses import.meta.url, which not every bundle has.
    const { Pool } = await import('./pool.ts');
    const pool = await Pool.start({ linear: memory, binary, threads, workerUrl, shareFrom });
    return { memory, binary, pool };
  } catch (error) {
    return `${threads} threads were asked for, but could not be started: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function whyNoSharing(): string | undefined {
  if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === false) {
    return 'this page is not cross-origin isolated (Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy)';
  }
  return typeof SharedArrayBuffer === 'function' ? undefined : 'this host has no SharedArrayBuffer';
}

function sharedMemory(): LinearMemory {
  let failure: unknown;
  for (const pages of SHARED_MAXIMA) {
    try {
      return new LinearMemory(pages, true);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
