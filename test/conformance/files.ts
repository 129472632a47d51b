/** The case files under folders. */
import { readdirSync } from 'node:fs';
import path from 'node:path';

/** Relative to the working directory, sorted. */
export function caseFiles(folders: readonly string[]): string[] {
  const files = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.safetensors'))
      .map((entry) => path.relative('', path.join(entry.parentPath, entry.name))),
  );
  return files.sort();
}
