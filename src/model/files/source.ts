/** Where the files of a model come from. Nothing here knows what is in them. */
import { SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';

/**
 * A model folder: a directory path or `file:` URL (Node, Deno, Bun), the http(s) URL of a folder, or file name -> bytes.
 * In a browser a string without a scheme is a URL relative to the page.
 */
export type ModelSource = string | URL | Readonly<Record<string, Uint8Array>>;

export interface LoadProgress {
  file: string;
  /** Bytes read so far. */
  loaded: number;
  /** Bytes in the file; absent when the server does not tell. */
  total?: number;
}

export interface LoadOptions {
  /** An abort rejects the read under way, and every later one, with the signal's reason. */
  signal?: AbortSignal;
  /** An error it throws ends the read under way, and comes out of it as it is. */
  onProgress?: (progress: LoadProgress) => void;
}

const SOURCE = 'a directory path, a file or http(s) URL, or a record of file name -> Uint8Array';
export const OPEN_SOURCE_FIELDS = {
  source: field.anything<ModelSource>(SOURCE, isSource),
  options: field.optional(
    field.record<LoadOptions>({ signal: field.optional(field.signal), onProgress: field.optional(field.callback()) }),
  ),
};
const NAME = { name: field.text };

function isSource(value: unknown): boolean {
  if (typeof value === 'string') return value !== '';
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

export interface OpenSource {
  /** The bytes of a file; `invalid-checkpoint` naming it when it is missing or cannot be read. */
  read(name: string): Promise<Uint8Array>;
  has(name: string): Promise<boolean>;
}

type Report = (loaded: number, total?: number) => void;

/** Bytes per read of a local file: large enough to be fast, small enough for progress and prompt aborts. */
const CHUNK = 16 << 20;

/**
 * Opens a model folder. No file is touched before the first `read` or `has`.
 * @throws `invalid-argument` when `source` is none of the kinds of `ModelSource`.
 */
export function openSource(source: ModelSource, options: LoadOptions = {}): OpenSource {
  field.checkFields('openSource', { source, options }, OPEN_SOURCE_FIELDS);
  const { signal, onProgress } = options; // as they are now, and were checked
  const folder = openFolder(source);
  return {
    async read(name) {
      field.checkFields('read', { name }, NAME);
      return guarded(name, { signal, onProgress }, (report) => folder.read(name, report, signal));
    },
    async has(name) {
      field.checkFields('has', { name }, NAME);
      return guarded(name, { signal, onProgress }, () => folder.has(name, signal));
    },
  };
}

interface Folder {
  read(name: string, report: Report, signal?: AbortSignal): Promise<Uint8Array>;
  has(name: string, signal?: AbortSignal): Promise<boolean>;
}

function openFolder(source: ModelSource): Folder {
  if (typeof source === 'string' || source instanceof URL) {
    const base = locateFolder(source);
    return {
      read: (name, report, signal) => readLocation(child(base, name), report, signal),
      has: (name, signal) => exists(child(base, name), signal),
    };
  }
  return {
    async read(name, report) {
      if (!Object.hasOwn(source, name)) throw new Error('not among the given files');
      const bytes: unknown = source[name];
      if (!(bytes instanceof Uint8Array)) throw new Error(`given as ${typeof bytes}, not as Uint8Array`);
      report(bytes.length, bytes.length);
      return bytes;
    },
    has: async (name) => Object.hasOwn(source, name),
  };
}

function locateFolder(source: string | URL): string | URL {
  try {
    return locate(source);
  } catch (cause) {
    const [got, expected] = [`"${source}"`, SOURCE];
    const message = `openSource: source is ${got}, expected ${expected}`;
    throw new SkipVisionError('invalid-argument', message, { op: 'openSource', argument: 'source', got, expected, cause });
  }
}

/** Runs a read: what `onProgress` throws comes out as it is, an abort with the signal's reason; every other failure names the file. */
async function guarded<T>(name: string, { signal, onProgress }: LoadOptions, work: (report: Report) => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  let isReporting = false;
  const report: Report = (loaded, total) => {
    isReporting = true;
    onProgress?.({ file: name, loaded, total });
    isReporting = false;
  };
  try {
    const value = await work(report);
    signal?.throwIfAborted();
    return value;
  } catch (cause) {
    if (isReporting) throw cause;
    signal?.throwIfAborted();
    const got = cause instanceof Error ? cause.message : String(cause);
    // An array larger than this runtime can hold is a RangeError.
    const code = cause instanceof RangeError ? 'out-of-memory' : 'invalid-checkpoint';
    throw new SkipVisionError(code, `${name}: cannot be read: ${got}`, { argument: name, got, expected: 'a readable file', cause });
  }
}

/** A URL for everything that is fetched, and a path as it was given for local files. */
export function locate(place: string | URL): string | URL {
  if (typeof place !== 'string') return place;
  // A single letter before the colon is a Windows drive.
  if (/^[a-z][a-z0-9+.-]+:/i.test(place)) return new URL(place);
  if (fileSystem() !== undefined) return place;
  return new URL(place, globalThis.location?.href);
}

/** Reads a local path, a `file:` URL, or anything `fetch` takes. Throws plain errors: the caller knows what was read. */
export async function readLocation(place: string | URL, report?: Report, signal?: AbortSignal): Promise<Uint8Array> {
  const isLocal = typeof place === 'string' || place.protocol === 'file:';
  return isLocal ? readFile(place, report, signal) : download(place, report, signal);
}

function child(base: string | URL, name: string): string | URL {
  if (typeof base === 'string') return `${base.replace(/[\\/]+$/, '')}/${name}`;
  const url = new URL(base); // keeps a query, as signed URLs have one
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/${name.split('/').map(encodeURIComponent).join('/')}`;
  return url;
}

/** The file system of Node, Deno and Bun. Not an import, so that no bundler ever sees it. */
function fileSystem(): typeof import('node:fs/promises') | undefined {
  return globalThis.process?.getBuiltinModule?.('node:fs/promises');
}

async function readFile(path: string | URL, report?: Report, signal?: AbortSignal): Promise<Uint8Array> {
  const fs = fileSystem();
  if (fs === undefined) throw new Error('this runtime has no file system');
  const handle = await fs.open(path, 'r');
  try {
    const { size } = await handle.stat();
    const bytes = new Uint8Array(size);
    let loaded = 0;
    report?.(loaded, size);
    while (loaded < size) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(bytes, loaded, Math.min(CHUNK, size - loaded), null);
      if (bytesRead === 0) throw new Error(`file ended after ${loaded} of ${size} bytes`);
      loaded += bytesRead;
      report?.(loaded, size);
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

async function download(url: URL, report?: Report, signal?: AbortSignal): Promise<Uint8Array> {
  const response = await fetch(url, { signal });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${url.href} answered ${response.status} ${response.statusText}`.trim());
  }
  // A compressed answer's length is not the file's.
  const length = response.headers.has('content-encoding') ? null : response.headers.get('content-length');
  const total = length === null ? undefined : Number(length);
  const reader = response.body?.getReader();
  try {
    let bytes = new Uint8Array(total ?? 1 << 16);
    let loaded = 0;
    report?.(loaded, total);
    while (reader !== undefined) {
      const { done, value } = await reader.read();
      if (done) break;
      if (loaded + value.length > bytes.length) {
        const grown = new Uint8Array(Math.max(2 * bytes.length, loaded + value.length));
        grown.set(bytes.subarray(0, loaded));
        bytes = grown;
      }
      bytes.set(value, loaded);
      loaded += value.length;
      report?.(loaded, total);
    }
    if (total !== undefined && loaded < total) throw new Error(`${url.href} ended after ${loaded} of ${total} bytes`);
    return loaded === bytes.length ? bytes : bytes.slice(0, loaded);
  } catch (error) {
    await reader?.cancel().catch(() => {}); // nobody reads the rest; it fails where the connection did
    throw error;
  }
}

async function exists(place: string | URL, signal?: AbortSignal): Promise<boolean> {
  if (typeof place === 'string' || place.protocol === 'file:') {
    const fs = fileSystem();
    if (fs === undefined) return false;
    try {
      return (await fs.stat(place)).isFile();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ENOTDIR') return false;
      throw error;
    }
  }
  const { ok, status, statusText } = await fetch(place, { method: 'HEAD', signal });
  if (ok || status === 405 || status === 501) return true; // a server without HEAD: the read will tell
  if (status < 500) return false;
  throw new Error(`${place.href} answered ${status} ${statusText}`.trim());
}
