/** Makes the parts of a wasm backend, with several threads where it can have them. */
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

/** What a wasm backend consists of. */
export interface Parts {
  memory: LinearMemory;
  binary: Binary;
  pool?: Pool;
  /** Why there is one thread, if more were asked for. */
  noThreads?: string;
}

export async function makeParts(options: BinaryOptions & ThreadOptions): Promise<Parts> {
  const { threads = 1, workerUrl, shareFrom } = options;
  let reason = threads > 1 ? whyNoSharing() : undefined;
  if (threads > 1 && !reason) {
    try {
      const memory = sharedMemory();
      const binary = await loadBinary(memory, options);
      // Imported only here: it uses import.meta.url, which not every bundle has.
      const { startPool } = await import('./pool.ts');
      return { memory, binary, pool: await startPool({ linear: memory, binary, threads, workerUrl, shareFrom }) };
    } catch (error) {
      reason = `could not be started: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  const memory = new LinearMemory();
  const noThreads = reason && `${threads} threads were asked for, but ${reason}`;
  return { memory, binary: await loadBinary(memory, options), noThreads };
}

function whyNoSharing(): string | undefined {
  if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === false) {
    return 'this page is not cross-origin isolated (Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy)';
  }
  return typeof SharedArrayBuffer === 'function' ? undefined : 'this host has no SharedArrayBuffer';
}

/** Engines reserve addresses for the maximum of a shared memory; where they refuse 4 GiB, 1 GiB may do. */
function sharedMemory(): LinearMemory {
  try {
    return new LinearMemory(MAXIMUM_PAGES, true);
  } catch {
    return new LinearMemory(MAXIMUM_PAGES / 4, true);
  }
}
